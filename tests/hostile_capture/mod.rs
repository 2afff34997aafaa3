//! A pcapng file whose every text is hostile, and what a terminal would obey.

/// A control sequence, the same with a C1 control, a separator of lines, a turn of direction, an
/// isolate and what cannot be seen.
pub const HOSTILE: &str = "x\u{1b}[31m\u{9b}7m\u{2028}\u{202e}\u{2066}\u{200b}\u{7f}z";

/// The characters of a text that nobody may see unescaped. Line ends and tabs are the program's own.
pub fn obeyed(shown: &str) -> String {
    let is_obeyed = |character: &char| {
        let is_invisible = matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        );
        is_invisible || character.is_control() && !matches!(character, '\n' | '\t')
    };
    shown
        .chars()
        .filter(is_obeyed)
        .flat_map(char::escape_unicode)
        .collect()
}

/// Section header, an interface, and drops by the kernel and by a device.
pub fn capture() -> Vec<u8> {
    const COMMENT: u16 = 1;
    let section = [
        &0x1a2b_3c4d_u32.to_le_bytes()[..],
        &[1, 0, 0, 0],
        &[0xff; 8],
    ]
    .concat();
    let mut file = block(
        0x0a0d_0d0a,
        &section,
        &[
            (COMMENT, HOSTILE.into()),
            (2, HOSTILE.into()),
            (3, format!("Linux {HOSTILE}")),
            (4, HOSTILE.into()),
        ],
    );
    for description in ["ifindex 5, software", "ifindex 5, hardware", HOSTILE] {
        let interface = [1, 0, 0, 0, 0, 0, 4, 0];
        let options = [(2, HOSTILE.into()), (3, description.into())];
        file.extend(block(1, &interface, &options));
    }
    let facts = [
        vec![
            format!("reason: {HOSTILE}"),
            format!("location: {HOSTILE}+0x1/0x2 [{HOSTILE}]"),
            "pc: 0x0000000000000010".into(),
            HOSTILE.into(),
        ],
        vec![format!("trap: {HOSTILE}"), format!("trap_group: {HOSTILE}")],
        vec![format!("reason: {HOSTILE}"), format!("ifname: {HOSTILE}")],
    ];
    for (interface, comments) in (0_u8..).zip(facts) {
        let mut packet = vec![
            interface, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0,
        ];
        packet.extend([2, 0, 0, 0]);
        let comments: Vec<_> = comments.into_iter().map(|text| (COMMENT, text)).collect();
        file.extend(block(6, &packet, &comments));
    }
    file
}

/// A block: type, length, body, options, length.
fn block(kind: u32, body: &[u8], options: &[(u16, String)]) -> Vec<u8> {
    let mut content = body.to_vec();
    for (code, text) in options {
        content.extend(code.to_le_bytes());
        content.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        content.extend(text.as_bytes());
        content.resize(content.len().next_multiple_of(4), 0);
    }
    content.extend([0; 4]);
    let length = u32::try_from(content.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &length, &content, &length].concat()
}
