//! Names of threads that one daemon looks for in another, to see whether it lacks a processor.

/// The thread of a daemon that answers on its socket, and pings.
pub const SOCKET_THREAD: &str = "socket";
/// What the names of lbd's workers begin with; their numbers follow.
pub const WORKER_THREADS: &str = "worker-";
