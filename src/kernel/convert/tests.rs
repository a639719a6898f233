//! Tests of messages in bytes: read into the nouns of the model, and refused when torn.

use proptest::prelude::*;

use super::super::wire::Writer;
use super::*;

/// The body of a message with this header and these attributes.
fn body(header: &[u8], attrs: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    w.message(0, 0, 0, header, attrs);
    w.as_bytes()[16..].to_vec()
}

fn all(body: &[u8]) -> [bool; 5] {
    let through = BTreeSet::from([3]);
    [
        link(body).is_ok(),
        address(body).is_ok(),
        route(body, Some(&through)).is_ok() && route(body, None).is_ok(),
        route_head(body).is_ok(),
        rule(body).is_ok(),
    ]
}

#[test]
fn texts_keep_their_length() {
    assert_eq!(text(b"sf0\0"), "sf0");
    assert_eq!(text(b"sf0"), "sf0");
    assert_eq!(text(b"\xff\xfe0\0rest"), "??0");
    assert_eq!(text(b""), "");
}

#[test]
fn an_address_without_flags_attribute_has_those_of_the_header() {
    let header = [AF_INET6, 64, 0x08, 0, 3, 0, 0, 0];
    let body = body(&header, |w| w.attr(IFA_ADDRESS, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]));
    let address = address(&body).unwrap().unwrap();
    assert!(address.dad_failed && !address.noprefixroute);
    assert_eq!(address.address.to_string(), "fd00::2/64");
}

#[test]
fn half_a_truth_is_malformed() {
    // A prefix length that no address has, an address of the wrong size, none at all.
    let header = |len| [AF_INET, len, 0, 0, 3, 0, 0, 0];
    assert_eq!(address(&body(&header(33), |w| w.attr(IFA_LOCAL, &[10, 0, 0, 1]))), Err(Malformed));
    assert_eq!(address(&body(&header(24), |w| w.attr(IFA_LOCAL, &[10, 0]))), Err(Malformed));
    assert_eq!(address(&body(&header(24), |_| {})), Err(Malformed));
    // A link without a name.
    assert_eq!(link(&body(&[0; LINK_HEADER], |_| {})), Err(Malformed));
    for len in 0..8 {
        assert_eq!(all(&vec![AF_INET; len]), [false; 5], "{len}");
    }
}

#[test]
fn other_families_are_none() {
    let mpls = 28;
    let mut header = [0; ROUTE_HEADER];
    header[0] = mpls;
    header[7] = RTN_UNICAST;
    assert_eq!(address(&body(&header, |_| {})), Ok(None));
    assert_eq!(route(&body(&header, |_| {}), None), Ok(None));
    assert_eq!(rule(&body(&header, |_| {})), Ok(None));
}

#[test]
fn a_selector_that_no_one_knows_yet_makes_a_rule_complex() {
    let header = [AF_INET, 0, 0, 0, 254, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    let plain = rule(&body(&header, |w| w.attr_u32(FRA_PRIORITY, 5))).unwrap().unwrap();
    assert!(!plain.complex);
    let odd = rule(&body(&header, |w| w.attr_u32(99, 5))).unwrap().unwrap();
    assert!(odd.complex);
}

#[test]
fn hops_of_a_multipath_route() {
    let mut list = Vec::new();
    for oif in [3_u32, 7] {
        list.extend(16_u16.to_ne_bytes());
        list.extend([0; 2]);
        list.extend(oif.to_ne_bytes());
        list.extend([8, 0, RTA_GATEWAY.to_ne_bytes()[0], 0, 10, 0, 0, 1]);
    }
    assert_eq!(hops(&list), Ok(vec![3, 7]));
    assert_eq!(hops(&list[..4]), Err(Malformed));
    // A length of 0 does not stand still.
    assert_eq!(hops(&[0; 16]), Ok(vec![0, 0]));
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_noun(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        all(&bytes);
        let _ = hops(&bytes);
        let _ = text(&bytes);
    }

    /// The same with a frame that is right, so that the values are reached.
    #[test]
    fn any_attributes_are_an_error_or_a_noun(
        family in prop_oneof![Just(AF_INET), Just(AF_INET6)],
        header in proptest::collection::vec(any::<u8>(), 15),
        attrs in proptest::collection::vec((0_u16..64, proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
    ) {
        for len in [ADDRESS_HEADER, ROUTE_HEADER, LINK_HEADER] {
            let mut head = vec![family];
            head.extend(&header[..len - 1]);
            if len == ROUTE_HEADER {
                head[7] = RTN_UNICAST;
            }
            all(&body(&head, |w| for (kind, value) in &attrs { w.attr(*kind, value) }));
        }
    }
}
