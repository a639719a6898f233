//! A foreign tool that keeps removing what the agent sets.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{block_pool, plain, world};

#[test]
fn a_fight_is_slowed_down_and_its_other_side_named() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ", defaultGateway: true"));
        w.bindings(&[plain("sf0"), plain("sf1")]);
        let agent = w.ready();
        // One `ip` that goes on after each failure, so that its name can be found.
        let mut foe = Command::new("ip")
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut orders = foe.stdin.take().unwrap();
        let mut fight =
            || orders.write_all(b"addr del 10.1.0.2/24 dev sf0\n").and_then(|()| orders.flush()).unwrap();
        agent.until("named", || {
            fight();
            let (reason, message) = w.reason("sf0");
            reason == "Contended" && message.contains("ip (netlink port")
        });
        assert_eq!(w.reason("sf1").0, "Applied");
        assert!(w.status().unwrap()["conditions"].to_string().contains("Conflict"));

        // The fight goes on for longer than the patience: no more than one round in five seconds, and hardly any work.
        let (begin, cpu, repairs) =
            (Instant::now(), agent.cpu(), agent.log().matches("repaired sf0: add address").count());
        let mut ready = 0;
        agent.until("twelve seconds of fight", || {
            fight();
            ready += u32::from(w.is_ready());
            begin.elapsed() > Duration::from_secs(12)
        });
        let more = agent.log().matches("repaired sf0: add address").count() - repairs;
        assert!(more <= 4, "{more} repairs in twelve seconds");
        let cpu = agent.cpu() - cpu;
        assert!(cpu < Duration::from_millis(600), "{cpu:?} of work in twelve seconds");
        assert_eq!(ready, 0, "a fight that goes on is not ready in between");
        let lines = agent.log().lines().count();
        assert!(lines < 120, "{lines} lines of log");

        drop(orders);
        foe.wait().unwrap();
        agent.until("peace", || w.addresses("sf0") == ["10.1.0.2/24"] && w.is_ready());
    });
}
