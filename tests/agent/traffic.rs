//! Two SFs of one subnet, and a host and a client that talk to both: each SF answers for itself, and for itself only.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    path::Path,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use crate::world::{World, block_pool, plain, world};

/// The network namespace of the thread or process at `path`, for the time of `work` on a thread of its own.
fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(path).unwrap();
    thread::scope(|scope| {
        let run = || {
            setns(file.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// A process that does nothing but hold a network namespace.
struct Far(std::process::Child);

impl Far {
    fn new() -> Self {
        let child = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("these tests need unshare: install the package util-linux");
        let mut far = Self(child);
        let mut ready = [0; 6];
        far.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        far
    }

    fn ns(&self) -> std::path::PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    fn ip(&self, words: &str) -> String {
        inside(&self.ns(), || {
            let output = std::process::Command::new("ip").args(words.split_whitespace()).output().unwrap();
            assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// Opens a connection from here to `to`, and says what came back.
    fn ask(&self, to: &str) -> String {
        let to: SocketAddr = to.parse().unwrap();
        inside(&self.ns(), || {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))
                .unwrap_or_else(|e| panic!("connect to {to}: {e}"));
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            stream.write_all(b"?").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packets that an interface received and sent.
fn packets(w: &World<'_>, name: &str) -> (u64, u64) {
    let link = w.ip_json(format!("-s link show {name}"));
    let of = |way: &str| link[0]["stats64"][way]["packets"].as_u64().unwrap();
    (of("rx"), of("tx"))
}

#[test]
fn two_sfs_of_one_subnet_answer_each_for_itself() {
    world(|w| {
        // The strictest reverse path filter, as some distributions set it.
        for (key, value) in [("all", "1"), ("default", "1")] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{key}/rp_filter"), value).unwrap();
        }
        w.sf("sf0");
        w.sf("sf1");
        // The machine's own way to the world.
        w.ip("link add mgmt type veth peer name mgmtrep");
        w.ip("link set mgmt up");
        w.ip("link set mgmtrep up");
        w.ip("addr add 192.0.2.2/24 dev mgmt");
        w.ip("route add default via 192.0.2.1 dev mgmt");
        let default = w.routes("main");

        // The switch with its host (10.1.0.100) and gateway (10.1.0.1), and a client behind the gateway.
        let far = Far::new();
        let pid = far.0.id();
        for sf in ["sf0", "sf1"] {
            w.ip(format!("link set {sf}rep netns {pid}"));
        }
        for words in [
            "link add br0 type bridge",
            "link set sf0rep master br0",
            "link set sf1rep master br0",
            "link set sf0rep up",
            "link set sf1rep up",
            "link set br0 up",
            "link set lo up",
            "addr add 10.1.0.1/24 dev br0",
            "addr add 10.1.0.100/24 dev br0",
            "addr add 203.0.113.9/32 dev lo",
        ] {
            far.ip(words);
        }
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        w.bindings(&[plain("sf0"), plain("sf1")]);
        let agent = w.ready();
        let pairs = [("sf0", "10.1.0.2"), ("sf1", "10.1.0.3")];

        // A server on all addresses, which says how it was reached.
        let listener = TcpListener::bind("0.0.0.0:7").unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for stream in listener.incoming().take(6) {
                    let mut stream = stream.unwrap();
                    let mut question = [0];
                    let _ = stream.read(&mut question);
                    let _ = stream.write_all(stream.local_addr().unwrap().ip().to_string().as_bytes());
                }
            });
            // The host of the subnet; a client whose way leads through the gateway; both again with other neighbours.
            for source in ["10.1.0.100", "203.0.113.9", "10.1.0.100"] {
                far.ip("neigh flush all");
                for (n, (sf, address)) in pairs.iter().enumerate() {
                    far.ip(&format!("route replace {address}/32 dev br0 src {source}"));
                    let other = pairs[1 - n].0;
                    let (before, beside) = (packets(w, sf), packets(w, other));
                    assert_eq!(far.ask(&format!("{address}:7")), *address);
                    let (after, besides) = (packets(w, sf), packets(w, other));
                    assert!(after.0 >= before.0 + 4, "{sf} was asked: {before:?} {after:?}");
                    assert!(after.1 >= before.1 + 4, "{sf} answered: {before:?} {after:?}");
                    assert_eq!(besides.1, beside.1, "{other} sent nothing");
                    // ARP: whoever asks for the address hears its own SF.
                    let neighbours = far.ip("neigh show dev br0");
                    let line = neighbours.lines().find(|l| l.starts_with(&format!("{address} "))).unwrap();
                    assert!(line.contains(&w.mac(sf)), "{line}");
                }
            }
        });

        // What the machine itself sends from an address leaves by its SF.
        for (sf, address) in pairs {
            for to in ["10.1.0.100", "203.0.113.9"] {
                let to: IpAddr = to.parse().unwrap();
                assert_eq!(w.ip_json(format!("route get {to} from {address}"))[0]["dev"], sf);
            }
        }
        assert_eq!(w.ip_json("route get 203.0.113.9")[0]["dev"], "mgmt", "the machine's default route");
        let main = w.routes("main");
        assert!(default.iter().all(|route| main.contains(route)), "{main:?}");
        assert_eq!(agent.stop(), Some(0));
    });
}
