//! [`play_random`]: lists of random operations, each run with a seed that is named where it fails.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Plays `cases` lists of operations, and panics with the shortest one that fails. `MODEL_SEED` repeats a run.
pub(crate) fn play_random<L: Strategy>(cases: u32, lists: L, play: impl Fn(L::Value)) {
    let seed = std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.subsec_nanos())
    });
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&u32::to_be_bytes(seed));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(&lists, |operations| {
        play(operations);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, operations)) => panic!("MODEL_SEED={seed}: {reason}\n{operations:?}"),
        Err(TestError::Abort(reason)) => panic!("MODEL_SEED={seed}: {reason}"),
    }
}
