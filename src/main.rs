//! The `mirant` binary.

use std::process::ExitCode;

/// Parked connections cost less memory with jemalloc than with glibc's allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mirant::cli::main()
}
