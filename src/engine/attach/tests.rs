//! Tests of the match between bindings and SFs.

use super::{Discovery, Match, SfDevice, SkipReason, Skipped, match_bindings};
use crate::model::{Attachment, Binding, Isolation, PciAddr, PoolChoice, PoolSelector, SfMatch};

fn pci(function: u8) -> PciAddr {
    PciAddr { domain: 0, bus: 3, device: 0, function }
}

fn sf(ifindex: u32, function: u8, sfnum: u32) -> Attachment {
    let netdev = format!("enp3s0f{function}s{sfnum}").parse().unwrap();
    let mac = format!("02:00:00:00:00:{ifindex:02x}").parse().ok();
    Attachment { netdev, ifindex, mac, pci: Some(pci(function)), sfnum: Some(sfnum) }
}

fn veth(ifindex: u32, name: &str) -> Attachment {
    Attachment { netdev: name.parse().unwrap(), ifindex, mac: None, pci: None, sfnum: None }
}

fn binding(name: &str, sf: SfMatch) -> Binding {
    let pool = PoolChoice::Pools(vec![PoolSelector::Name("p".into())]);
    Binding { name: name.parse().unwrap(), sf, pool, index: None, isolation: Isolation::Auto }
}

fn sfnum(sfnum: u32) -> SfMatch {
    SfMatch { sfnum: Some(sfnum), ..SfMatch::default() }
}

fn netdev(name: &str) -> SfMatch {
    SfMatch { netdev: name.parse().ok(), ..SfMatch::default() }
}

fn found(wanted: SfMatch, discovery: &Discovery) -> Match {
    let matches = match_bindings(&[binding("b", wanted)], discovery);
    matches.into_values().next().unwrap()
}

fn two_ports() -> Discovery {
    let attachments = vec![sf(4, 0, 4), sf(5, 0, 5), sf(6, 0, 6), sf(7, 1, 5), veth(8, "veth0")];
    Discovery { attachments, ..Discovery::default() }
}

#[test]
fn each_criterion_finds_and_all_must_hold() {
    let all = two_ports();
    assert_eq!(found(sfnum(4), &all), Match::Found(sf(4, 0, 4)));
    assert_eq!(found(SfMatch { pci: Some(pci(1)), ..sfnum(5) }, &all), Match::Found(sf(7, 1, 5)));
    assert_eq!(found(netdev("veth0"), &all), Match::Found(veth(8, "veth0")));
    let mac = "02:00:00:00:00:06".parse().ok();
    assert_eq!(found(SfMatch { mac, ..SfMatch::default() }, &all), Match::Found(sf(6, 0, 6)));
    let contradiction = SfMatch { mac, ..sfnum(4) };
    assert!(matches!(found(contradiction, &all), Match::Absent { .. }));
    assert!(matches!(found(SfMatch { pci: Some(pci(0)), ..netdev("veth0") }, &all), Match::Absent { .. }));
}

#[test]
fn several_matches_are_named() {
    let answer = found(sfnum(5), &two_ports());
    assert_eq!(answer.to_string(), "matches enp3s0f0s5 and enp3s0f1s5; say more in `match`");
}

#[test]
fn the_first_of_two_bindings_keeps_the_interface() {
    let bindings = [binding("z-first", sfnum(4)), binding("a-second", netdev("enp3s0f0s4"))];
    let matches = match_bindings(&bindings, &two_ports());
    assert_eq!(matches[&bindings[0].name], Match::Found(sf(4, 0, 4)));
    assert_eq!(matches[&bindings[1].name].to_string(), "matches enp3s0f0s4, which z-first has");
}

#[test]
fn an_absence_says_what_came_near() {
    let mut all = two_ports();
    all.elsewhere.push(SfDevice { pci: pci(0), sfnum: 20 });
    all.skipped.push(Skipped { attachment: veth(9, "en3f0pf0sf4"), reason: SkipReason::Representor });
    all.skipped.push(Skipped { attachment: sf(10, 0, 8000), reason: SkipReason::Dma });
    let named = |m: &SfMatch, netdev: &str| SfMatch { netdev: netdev.parse().ok(), ..m.clone() };
    let on = |function, m: SfMatch| SfMatch { pci: Some(pci(function)), ..m };
    for (wanted, why) in [
        (on(0, sfnum(10)), "no SF 10 under 0000:03:00.0; there are 4, 5, 6"),
        (on(2, sfnum(10)), "no SF 10 under 0000:03:00.2; there is none at all"),
        (sfnum(10), "no SF 10; there are 4, 5, 6"),
        (
            on(0, sfnum(20)),
            "SF 20 of 0000:03:00.0 is present, but its netdev is in another network namespace",
        ),
        (on(1, sfnum(20)), "no SF 20 under 0000:03:00.1; there are 5"),
        (netdev("en3f0pf0sf4"), "en3f0pf0sf4 is a representor; addresses belong on the SF itself"),
        (sfnum(8000), "enp3s0f0s8000 is SF 8000, which is reserved for DMA"),
        (netdev("nothing"), "nothing matches netdev nothing"),
        (
            named(&on(0, sfnum(4)), "old-name"),
            "nothing matches pci 0000:03:00.0, sfnum 4, netdev old-name; enp3s0f0s4 is near: \
             pci 0000:03:00.0, sfnum 4, netdev enp3s0f0s4, mac 02:00:00:00:00:04",
        ),
        (
            on(0, netdev("veth0")),
            "nothing matches pci 0000:03:00.0, netdev veth0; veth0 is near: netdev veth0",
        ),
    ] {
        assert_eq!(found(wanted, &all), Match::Absent { why: why.into() });
    }
}

#[test]
fn a_long_list_of_numbers_is_cut_around_the_wanted_one() {
    let attachments = (0..100).filter(|n| *n != 50).map(|n| sf(n + 1, 0, n)).collect();
    let answer = found(sfnum(50), &Discovery { attachments, ..Discovery::default() });
    assert_eq!(answer.to_string(), "no SF 50; there are 46, 47, 48, 49, 51, 52, 53, 54 and 91 more");
}
