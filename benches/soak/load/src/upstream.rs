//! The server behind the forwards: every byte and every datagram comes back.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    task::spawn_local,
};

use crate::Failure;

pub(crate) async fn serve(address: SocketAddr) -> Result<(), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let (listener, datagrams) = (socket.listen(4096)?, UdpSocket::bind(address).await?);
    spawn_local(async move {
        let mut bytes = vec![0; 65536];
        loop {
            if let Ok((length, from)) = datagrams.recv_from(&mut bytes).await {
                let _ = datagrams.send_to(&bytes[..length], from).await;
            }
        }
    });
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            spawn_local(echo(stream));
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let mut bytes = vec![0; 16384];
    while let Ok(length @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
