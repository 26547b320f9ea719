//! The floor: a proxy that carries bytes and reads none of them, on the runtime that lbd has.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Runs until it is killed.
pub(crate) fn main(listen: SocketAddr, to: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            // Whoever goes first ends it.
            tokio::task::spawn_local(async move { _ = carry(client, to).await });
        }
    })
}

/// Request after request: a read and a write for each direction, as few as a proxy can do.
async fn carry(mut client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match from_client.read(&mut buffer).await? {
                0 => return Ok(()),
                n => to_server.write_all(&buffer[..n]).await?,
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from_server.read(&mut buffer).await? {
                0 => return Ok(()),
                n => to_client.write_all(&buffer[..n]).await?,
            }
        }
    };
    tokio::select! {
        result = up => result,
        result = down => result,
    }
}
