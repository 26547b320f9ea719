//! What the control thread tells the workers to do.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::shared::sessions::{SessionRow, Whose};

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Accept connections for a frontend.
    Listen {
        /// The frontend's name; it is in the routing already.
        frontend: String,
        /// The listening socket.
        listener: TcpListener,
    },
    /// Connections to an address belong to another frontend from now on.
    Reassign {
        /// The address; it is listened to already.
        address: SocketAddr,
        /// The frontend's name; it is in the routing already.
        frontend: String,
    },
    /// Accept what has arrived at an address, and close it.
    Unlisten {
        /// The address.
        address: SocketAddr,
        /// Answered when it is closed.
        done: oneshot::Sender<()>,
    },
    /// Give other handles of the listening sockets, for an lbd that is to have this one's place.
    Copy {
        /// Given them, or why not all can be had.
        done: oneshot::Sender<io::Result<Vec<TcpListener>>>,
    },
    /// Stop accepting everywhere: somebody else does, from the same sockets.
    GiveUp {
        /// Answered when that is so.
        done: oneshot::Sender<()>,
    },
    /// Accept from a listener that the lbd before this one had more of, and close it in a while.
    Finish {
        /// The frontend's name; it is in the routing already.
        frontend: String,
        /// The listening socket.
        listener: TcpListener,
        /// Ends when it may be closed: what is done to it is done to the other lbd, too, as long as that accepts from it.
        until: oneshot::Receiver<Infallible>,
    },
    /// Hold new connections, close idle ones, and close the others after the request in flight.
    Hold {
        /// When the requests in flight have to be over.
        due: Instant,
        /// Answered when new connections are held.
        done: oneshot::Sender<()>,
    },
    /// Take new connections again, and keep them open between requests.
    Resume,
    /// Go on accepting and serving, and close every connection after its next request.
    Leave {
        /// When the requests in flight have to be over.
        due: Instant,
        /// Answered when the last of the connections that there were has ended.
        done: oneshot::Sender<()>,
    },
    /// Tell of client connections.
    Sessions {
        /// Of which.
        whose: Whose,
        /// Of so many at most.
        limit: usize,
        /// Given those, and how many there are.
        done: oneshot::Sender<(Vec<SessionRow>, usize)>,
    },
    /// End client connections at once, whatever they are at.
    Cut {
        /// Which.
        whose: Whose,
        /// Given how many they were.
        done: oneshot::Sender<usize>,
    },
    /// Accept no more, finish what is in flight, and answer when nothing is left but tunnels.
    Stop {
        /// When they have to be over.
        due: Instant,
        /// Given the listening sockets, open for the next lbd. Nobody waits for it if there is to be none: then what has arrived
        /// is accepted, and they are closed.
        listeners: oneshot::Sender<Vec<TcpListener>>,
        /// Answered when the last of the others has ended.
        done: oneshot::Sender<()>,
    },
}
