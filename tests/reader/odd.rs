//! pcapng as no careful program writes it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::read;

/// Writes pcapng in one byte order.
#[derive(Clone, Copy, Debug)]
struct Order {
    is_big: bool,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = self.u32(u32::try_from(body.len() + 12).unwrap());
        [&self.u32(kind)[..], &len, &body, &len].concat()
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let len = self.u16(u16::try_from(value.len()).unwrap());
        let mut option = [&self.u16(code)[..], &len, value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn options(self, options: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let options = options.iter();
        options
            .flat_map(|(code, value)| self.option(*code, value))
            .collect()
    }
}

/// A block behind the interfaces.
#[derive(Clone, Debug)]
enum Odd {
    Enhanced(u32, Vec<u8>, Vec<(u16, Vec<u8>)>),
    Obsolete(u16, Vec<u8>, Vec<(u16, Vec<u8>)>),
    Simple(Vec<u8>),
    Statistics(u32, Vec<u8>),
    Unknown(u32, Vec<u8>),
    /// An unknown block of so many bytes.
    Huge(usize),
}

#[derive(Clone, Debug)]
struct OddSection {
    order: Order,
    interfaces: Vec<Vec<(u16, Vec<u8>)>>,
    blocks: Vec<Odd>,
}

fn odd_options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let value = prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        1 => Just(b"caf\xe9".to_vec()),
        1 => vec(any::<u8>(), 300..400),
    ];
    vec((1_u16..20, value), 0..5)
}

fn odd_block() -> impl Strategy<Value = Odd> {
    let data = || vec(any::<u8>(), 0..60);
    prop_oneof![
        4 => (0..4_u32, data(), odd_options()).prop_map(|(at, data, options)| Odd::Enhanced(at, data, options)),
        1 => (0..4_u16, data(), odd_options()).prop_map(|(at, data, options)| Odd::Obsolete(at, data, options)),
        1 => data().prop_map(Odd::Simple),
        1 => (any::<u32>(), data()).prop_map(|(at, data)| Odd::Statistics(at, data)),
        1 => (select(vec![0, 4, 7, 10, 0xbad, 0x8000_0001]), data()).prop_map(|(kind, data)| Odd::Unknown(kind, data)),
        1 => (60_000..9_000_000_usize).prop_map(Odd::Huge),
    ]
}

fn odd_section() -> impl Strategy<Value = OddSection> {
    (
        any::<bool>(),
        vec(odd_options(), 0..4),
        vec(odd_block(), 0..6),
    )
        .prop_map(|(is_big, interfaces, blocks)| OddSection {
            order: Order { is_big },
            interfaces,
            blocks,
        })
}

impl OddSection {
    fn write(&self, file: &mut Vec<u8>) {
        let order = self.order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend([0xff; 8]);
        body.extend(order.option(4, b"caf\xe9"));
        file.extend(order.block(0x0a0d_0d0a, &body));
        for options in &self.interfaces {
            let mut body = [order.u16(1), order.u16(0)].concat();
            body.extend(order.u32(0));
            body.extend(order.options(options));
            file.extend(order.block(1, &body));
        }
        for block in &self.blocks {
            self.write_block(block, file);
        }
    }

    fn write_block(&self, block: &Odd, file: &mut Vec<u8>) {
        let order = self.order;
        let packet = |before: &[u8], data: &[u8], options: &[(u16, Vec<u8>)]| {
            let mut body = before.to_vec();
            let len = order.u32(u32::try_from(data.len()).unwrap());
            body.extend([[0; 4], order.u32(7), len, len].concat());
            body.extend(data);
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend(order.options(options));
            body
        };
        file.extend(match block {
            Odd::Enhanced(at, data, options) => {
                order.block(6, &packet(&order.u32(*at), data, options))
            }
            Odd::Obsolete(at, data, options) => {
                let before = [order.u16(*at), order.u16(0)].concat();
                order.block(2, &packet(&before, data, options))
            }
            Odd::Simple(data) => {
                let len = order.u32(u32::try_from(data.len()).unwrap());
                order.block(3, &[&len[..], data].concat())
            }
            Odd::Statistics(at, data) => {
                order.block(5, &[&order.u32(*at)[..], &[0; 8], data].concat())
            }
            Odd::Unknown(kind, data) => order.block(*kind, data),
            Odd::Huge(len) => order.block(0xbad, &vec![0; *len]),
        });
    }

    /// Packets of interfaces that are there, and of others.
    fn packets(&self) -> (usize, u64) {
        let count = self.interfaces.len();
        let packets = self.blocks.iter().filter_map(|block| match block {
            Odd::Enhanced(at, ..) => Some(*at as usize),
            Odd::Obsolete(at, ..) => Some(usize::from(*at)),
            Odd::Simple(_) => Some(0),
            _ => None,
        });
        let (there, missing): (Vec<_>, Vec<_>) = packets.partition(|at| *at < count);
        (there.len(), missing.len() as u64)
    }

    fn others(&self) -> u64 {
        let others = self.blocks.iter();
        others
            .filter(|block| matches!(block, Odd::Unknown(..) | Odd::Huge(_)))
            .count() as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_packet_of_an_odd_file_is_read(sections in vec(odd_section(), 1..4)) {
        let mut file = Vec::new();
        let (mut packets, mut missing, mut others) = (0, 0, 0);
        for section in &sections {
            section.write(&mut file);
            let (there, not_there) = section.packets();
            packets += there;
            missing += not_there;
            others += section.others();
        }
        let (given, findings) = read(&file);
        prop_assert_eq!(given.damage, None);
        prop_assert_eq!(given.records.len(), packets);
        prop_assert_eq!(findings.unreadable_packets, missing);
        prop_assert_eq!(findings.skipped_blocks, others);
    }
}

#[test]
fn an_option_beyond_its_block_costs_nothing_but_itself() {
    let order = Order { is_big: false };
    let mut file = Vec::new();
    let section = OddSection {
        order,
        interfaces: vec![vec![(9, vec![9, 9])]],
        blocks: vec![Odd::Enhanced(0, vec![1, 2, 3], vec![(2, vec![1])])],
    };
    section.write(&mut file);
    // One more packet, whose comment says to be longer than the block.
    let mut body = vec![0; 20];
    body.extend([1, 0, 0xff, 0, b'x', 0, 0, 0]);
    file.extend(order.block(6, &body));
    let (given, findings) = read(&file);
    assert_eq!((given.records.len(), given.damage), (2, None));
    assert_eq!(findings.skipped_options, 3);
}

#[test]
fn a_packet_block_of_many_megabytes_is_read_as_far_as_its_comments_are_looked_at() {
    let order = Order { is_big: false };
    let mut file = Vec::new();
    let comment = (1, vec![b'x'; 60_000]);
    let section = OddSection {
        order,
        interfaces: vec![vec![]],
        blocks: vec![
            Odd::Enhanced(0, vec![1, 2, 3], vec![comment; 400]),
            Odd::Enhanced(0, vec![4], vec![]),
        ],
    };
    section.write(&mut file);
    assert!(file.len() > 24_000_000);
    let (given, findings) = read(&file);
    assert_eq!((given.records.len(), given.damage), (2, None));
    assert_eq!(findings.skipped_options, 1);
}
