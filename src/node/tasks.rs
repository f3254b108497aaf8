//! [`Tasks`]: the one way to spawn; every task has a name, is counted and hears when to stop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// The tasks of one node.
#[derive(Debug)]
pub struct Tasks {
    /// Where tasks run, so that any thread may start one.
    runtime: Handle,
    running: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
}

/// Tells a task to stop.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the task is to stop.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&mut self) {
        // An error means that the tasks themselves are gone, which is the same.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// Counts one running task, also if it panics or is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tasks {
    /// Makes an empty set whose tasks run on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new() -> Self {
        Self { runtime: Handle::current(), running: Arc::new(AtomicUsize::new(0)), stop: watch::Sender::new(false) }
    }

    /// Runs `future` as a task; a panic ends this task alone and is logged by the process's panic hook.
    ///
    /// Any thread may call this. Once the runtime shuts down, the future is dropped and never runs.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&self.running));
        // Boxed, because a wrapping future would hold room for the inner one twice.
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        self.runtime.spawn(async move {
            future.await;
            drop(running);
            tracing::trace!(task = name, "task ended");
        });
    }

    /// Runs `future` as a task whose polls are counted.
    pub fn spawn_counted(
        &self,
        name: &'static str,
        polls: Arc<AtomicU64>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut future = Box::pin(future);
        self.spawn(
            name,
            std::future::poll_fn(move |context| {
                polls.fetch_add(1, Ordering::Relaxed);
                future.as_mut().poll(context)
            }),
        );
    }

    /// How many tasks run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Returns what tells a task to stop.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Tells every task to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until at most `remaining` tasks run, at most `limit`; false if more still do.
    pub async fn wait(&self, remaining: usize, limit: Duration) -> bool {
        let waiting = async {
            while self.count() > remaining {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, waiting).await.is_ok()
    }
}
