//! [`Health`]: whether a node takes part in the world.

/// Whether a node takes part in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Ready,
    /// It ends what is open and takes nothing new.
    Stopping,
}
