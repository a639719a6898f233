//! Tests of attributes in bytes.

use proptest::prelude::*;

use super::*;

/// One message with a number, a text and a nest.
fn written() -> Writer {
    let mut w = Writer::default();
    w.message(16, 5, 7, &[1, 2, 3], |w| {
        w.attr_u32(4, 9000);
        w.attr(3, b"sf0\0\0");
        w.nest(18, |w| w.attr(1, b"veth\0"));
    });
    w
}

#[test]
fn what_is_written_is_read() {
    let mut w = written();
    w.message(17, 1, 8, &[], |_| {});
    let messages: Vec<_> = Messages(w.as_bytes()).collect::<Result<_, _>>().unwrap();
    let [first, second] = messages[..] else { panic!("{messages:?}") };
    assert_eq!((first.kind, first.flags, first.seq, first.port), (16, 5, 7, 0));
    assert_eq!((second.kind, second.seq, second.body), (17, 8, &[][..]));
    let attrs: Vec<_> = Attrs::behind(first.body, 3).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(attrs.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [4, 3, 18]);
    assert_eq!(u32_at(attrs[0].1, 0), Ok(9000));
    assert_eq!(attrs[1].1, b"sf0\0\0");
    assert_eq!(Attrs::new(attrs[2].1).find(1), Ok(Some(&b"veth\0"[..])));
    assert_eq!(Attrs::new(attrs[2].1).find(2), Ok(None));
}

/// Whatever is cut off, what is left reads as malformed or as less, and the end is always reached.
#[test]
fn a_torn_message_is_malformed() {
    let w = written();
    let all = w.as_bytes();
    for len in 1..all.len() {
        let read: Vec<_> = Messages(&all[..len]).collect();
        assert_eq!(read, [Err(Malformed)], "{len}");
    }
}

#[test]
fn lengths_that_lie_are_malformed() {
    for len in [0_u32, 1, 15, 17, u32::MAX] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        assert_eq!(Messages(&bytes).collect::<Vec<_>>(), [Err(Malformed)], "{len}");
    }
    for len in [0_u16, 1, 3, 9, u16::MAX] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&len.to_ne_bytes());
        assert_eq!(Attrs::new(&bytes).collect::<Vec<_>>(), [Err(Malformed)], "{len}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300), header in 0_usize..400) {
        // At most one item for every four bytes, so that no length stands still.
        let bound = bytes.len() / 4 + 1;
        prop_assert!(Messages(&bytes).count() <= bound);
        prop_assert!(Attrs::new(&bytes).count() <= bound);
        if let Ok(attrs) = Attrs::behind(&bytes, header) {
            prop_assert!(attrs.count() <= bound);
        }
    }
}
