use super::*;

/// A report's header, with these numbers in it.
fn header(numbers: &[(HeaderField, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    for &(place, number) in numbers {
        let at = place.at.unsigned_abs() as usize;
        let len = match place.size {
            AccessSize::Byte => 1,
            AccessSize::Half => 2,
            AccessSize::Word => 4,
            AccessSize::Double => 8,
        };
        // In this machine's order, like those of the kernel.
        let number = (number << (64 - 8 * len)).to_be_bytes();
        let field = &mut bytes[at..at + len];
        field.copy_from_slice(&number[..len]);
        if cfg!(target_endian = "little") {
            field.reverse();
        }
    }
    bytes
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let numbers = [
        (TIME, 1 << 40),
        (PC, 2 << 40),
        (REASON, 3),
        (ORIGINAL_LEN, 60),
        (HEADERS_LEN, 2),
        (DATA_LEN, 3),
        (INPUT, 5),
        (NETWORK, 0xffff_fff2),
        (DEVICE_INDEX, 6),
        (NAMESPACE, 7),
        (PROTOCOL, 0x0800_u16.to_be().into()),
        (DEVICE_TYPE, 0xfffe),
        (START, 2),
        (PACKET_TYPE, 3),
        (VLAN_PRESENT, 1),
        (SOCKET_ROLE, 2),
        (TASK, 8 << 32 | 9),
        (CGROUP, 10),
        (MARK, 11),
        (SOCKET_NAMESPACE, 12),
        (VLAN_PROTOCOL, 0x8100_u16.to_be().into()),
        (VLAN_TAG, 0x6007),
        (SOCKET_FAMILY, 2),
        (SOCKET_KIND, 2),
        (SOCKET_PROTOCOL, 17),
        (SOCKET_PORT, 53),
        (SOCKET_PEER_PORT, 40000_u16.to_be().into()),
        (SOCKET_STATE, 1),
    ];
    let mut bytes = header(&numbers);
    for (at, name) in [(DEVICE_NAME, b"tun0"), (TASK_NAME, b"curl")] {
        let at = at.unsigned_abs() as usize;
        bytes[at..at + 4].copy_from_slice(name);
    }
    // With the padding of a perf record.
    bytes.extend(b"abcdepad");
    let report = Report::decode(&bytes).unwrap();
    let expected = Report {
        packet: ReportedPacket {
            time: 1 << 40,
            original_len: 60,
            data: b"abcde",
        },
        pc: 2 << 40,
        reason: 3,
        input: 5,
        protocol: 0x0800,
        network: -14,
        start: Start::Network,
        headers_len: 2,
        running: RunningTask {
            process: 8,
            name: b"curl",
        },
        cgroup: Some(10),
        socket: Some(ReportedSocket {
            facts: DropSocket {
                role: SocketRole::Receiver,
                family: 2,
                protocol: 17,
                port: 53,
                peer_port: 40000,
                state: 1,
            },
            namespace: 12,
        }),
        mark: Some(11),
        vlan: Some(0x6007),
        is_marked_received: true,
        device: Some(SkbDevice {
            index: 6,
            namespace: 7,
            hardware: 0xfffe,
            name: b"tun0",
        }),
        stack: CallStack(&[]),
    };
    assert_eq!(report, expected);
    assert_eq!(Report::decode(&bytes[..bytes.len() - 4]), None);
    assert_eq!(time(&bytes[..8]), Some(1 << 40));
    assert_eq!(Report::decode(&header(&[(START, 4)])), None);
}

#[test]
fn the_facts_are_all_but_time_and_packet() {
    let frames = (STACK_FRAMES, 1);
    let with = |numbers: &[(HeaderField, u64)], rest: &[u8]| {
        let header = header(&[&[(START, 1), frames], numbers].concat());
        [&header, rest].concat()
    };
    let here = with(&[(DATA_LEN, 2)], b"12345678ab");
    let facts_of = |bytes: &[u8]| facts(bytes).unwrap().to_vec();
    let other_packet = with(&[(TIME, 9), (ORIGINAL_LEN, 9), (DATA_LEN, 1)], b"12345678c");
    assert_eq!(facts_of(&here), facts_of(&other_packet));
    let packet = ReportedPacket {
        time: 9,
        original_len: 9,
        data: b"c",
    };
    assert_eq!(ReportedPacket::decode(&other_packet), Some(packet));
    assert_ne!(facts_of(&here), facts_of(&with(&[], b"12345679ab")));
    for field in [
        PC,
        REASON,
        HEADERS_LEN,
        INPUT,
        DEVICE_INDEX,
        TASK,
        MARK,
        SOCKET_STATE,
    ] {
        assert_ne!(
            facts_of(&here),
            facts_of(&with(&[(field, 1)], b"12345678ab"))
        );
    }
    assert_eq!(facts(&here[..HEADER_LEN + 7]), None);
}

#[test]
fn a_call_stack_stands_in_front_of_the_frame() {
    let with = |frames, data_len, rest: &[u8]| {
        let header = header(&[(START, 1), (STACK_FRAMES, frames), (DATA_LEN, data_len)]);
        [&header, rest].concat()
    };
    let addresses = [0x1111_2222_3333_4444_u64, 5];
    let stack = addresses.map(u64::to_ne_bytes).concat();
    let bytes = with(2, 2, &[&stack, &b"abpad"[..]].concat());
    let report = Report::decode(&bytes).unwrap();
    assert_eq!(report.stack.addresses().collect::<Vec<_>>(), addresses);
    assert_eq!(report.packet.data, b"ab");
    // Longer than what was written.
    for (frames, data_len) in [(3, 0), (2, 1), (0xff, 0)] {
        assert_eq!(Report::decode(&with(frames, data_len, &stack)), None);
    }
}

#[test]
fn what_a_kernel_does_not_tell_is_absent() {
    let with = |numbers: &[(HeaderField, u64)]| {
        let bytes = header(&[&[(START, 1)], numbers].concat());
        let Report {
            device,
            cgroup,
            socket,
            mark,
            vlan,
            is_marked_received,
            ..
        } = Report::decode(&bytes).unwrap();
        let facts = [
            device.is_some(),
            cgroup.is_some(),
            socket.is_some(),
            mark.is_some(),
            vlan.is_some(),
            is_marked_received,
        ];
        facts.into_iter().filter(|&is_there| is_there).count()
    };
    assert_eq!(with(&[]), 0);
    // No bit field for the type of packet; a tag that was taken off and forgotten (before 6.2); a tag's
    // place that is empty (since then).
    assert_eq!(with(&[(PACKET_TYPE, 0xff)]), 0);
    assert_eq!(with(&[(VLAN_TAG, 7), (VLAN_PROTOCOL, 0x81)]), 0);
    assert_eq!(with(&[(VLAN_PRESENT, 1)]), 0);
    // Whatever an earlier drop left where no socket is, and what cannot be one.
    let family = (SOCKET_FAMILY, 2);
    assert_eq!(with(&[family, (SOCKET_STATE, 1)]), 0);
    assert_eq!(with(&[(SOCKET_ROLE, 1), family]), 0);
    assert_eq!(with(&[(SOCKET_ROLE, 1), (SOCKET_STATE, 1)]), 0);
    assert_eq!(with(&[(SOCKET_ROLE, 1), family, (SOCKET_STATE, 1)]), 1);
}

#[test]
fn the_protocol_of_a_raw_socket_is_no_port() {
    let numbers = [
        (START, 1),
        (SOCKET_ROLE, 1),
        (SOCKET_FAMILY, 2),
        (SOCKET_STATE, 7),
        (SOCKET_PROTOCOL, 255),
        (SOCKET_PORT, 255),
        (SOCKET_KIND, 3),
    ];
    let bytes = header(&numbers);
    let socket = Report::decode(&bytes).unwrap().socket.unwrap();
    assert_eq!(socket.facts.to_string(), "owner inet protocol255 close");
}
