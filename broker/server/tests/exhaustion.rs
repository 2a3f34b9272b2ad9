//! What happens when file descriptors run out. In a process of its own: the limit is the
//! process's.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nexum_server::ListenerTransport;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, Options, PATIENCE, TestServer};

#[test]
fn accepting_waits_for_descriptors_without_spinning() {
    let server = TestServer::start(ListenerTransport::Tcp, Options::default());
    let mut before = server.tcp();
    before.join("before");

    // A socket that has its descriptor already, and then no room for the server's end of it.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
        .expect("a descriptor is free");
    let usual = getrlimit(Resource::Nofile);
    // The next descriptor would be the one that this file gets.
    let next = std::fs::File::open("/dev/null")
        .expect("a descriptor is free")
        .as_raw_fd();
    let current = Some(u64::try_from(next).expect("descriptors are not negative"));
    setrlimit(Resource::Nofile, Rlimit { current, ..usual }).expect("a limit can be lowered");
    let address: SocketAddr = server.address();
    socket
        .connect(&address.into())
        .expect("the kernel completes the connection");

    let began = Instant::now();
    let failed = || server.handle.snapshot().accept.failed;
    while failed() < 3 {
        assert!(began.elapsed() < PATIENCE, "accepting does not fail");
        // Who is connected is served meanwhile; this also paces the loop.
        before.ping();
    }
    let (attempts, elapsed) = (failed(), began.elapsed());
    let due = elapsed.as_millis() / Duration::from_millis(100).as_millis();
    assert!(
        u128::from(attempts) <= due + 2,
        "{attempts} attempts in {elapsed:?}"
    );

    setrlimit(Resource::Nofile, usual).expect("up to the hard limit");
    let mut after = TcpStream::from(socket);
    after.set_read_timeout(Some(PATIENCE)).expect("not zero");
    after.join("after");
    before.ping();
}
