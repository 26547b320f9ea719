//! Servers on threads of their own: what they do is late for nobody, and what others do makes them late for nobody.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Apart {
    _end: oneshot::Sender<()>,
}

/// Starts a thread with a runtime of its own, in which `serve` makes what is to run there.
pub(crate) fn apart<F: Future<Output = ()>>(
    name: &str,
    serve: impl FnOnce() -> io::Result<F> + Send + 'static,
) -> io::Result<Apart> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (end, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async move {
            match serve() {
                Ok(served) => tokio::select! {
                    () = served => {}
                    _ = ended => {}
                },
                Err(error) => tracing::error!(%error, "cannot serve"),
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(Apart { _end: end })
}
