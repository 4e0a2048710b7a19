//! realm: its published engine behind the smallest main. `realm tcp|udp LISTEN TO`, with the product's own defaults.

use realm_core::{
    endpoint::{BindOpts, ConnectOpts, Endpoint, RemoteAddr},
    tcp::run_tcp,
    udp::run_udp,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [protocol, listen, to] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "three words")?;
    let conn_opts = ConnectOpts {
        connect_timeout: 5,
        associate_timeout: 30,
        tcp_keepalive: 15,
        tcp_keepalive_probe: 3,
        ..ConnectOpts::default()
    };
    let endpoint = Endpoint {
        laddr: listen.parse()?,
        raddr: RemoteAddr::SocketAddr(to.parse()?),
        bind_opts: BindOpts::default(),
        conn_opts,
        extra_raddrs: Vec::new(),
    };
    Ok(if protocol == "udp" { run_udp(endpoint).await } else { run_tcp(endpoint).await }?)
}
