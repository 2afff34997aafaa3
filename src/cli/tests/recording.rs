//! The options that divide a capture into files, and those that keep only a part of it.

use super::*;

#[test]
fn sizes_are_tcpdumps() {
    for (text, bytes) in [
        ("1", 1_000_000),
        ("100", 100_000_000),
        ("1k", 1024),
        ("3K", 3072),
        ("2m", 2 << 20),
        ("2M", 2 << 20),
        ("5g", 5 << 30),
        ("5G", 5 << 30),
    ] {
        let rotation = captured(&format!("-w x -C {text}")).delivery.rotation;
        assert_eq!(rotation.size, Some(bytes), "{text}");
    }
    for text in [
        "0",
        "x",
        "1x",
        "k",
        "-1",
        "1.5",
        "1kB",
        "9223372036855",
        "99999999999999999999",
    ] {
        let error = parse_words(&format!("-w x -C {text}")).unwrap_err();
        assert!(
            error.message.starts_with("invalid value '"),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_ring_has_all_its_limits() {
    let words = "-w x-%H -C 1 -G 60 -W 5 -z gzip --max-total 10G --sync 0.5";
    let second = Duration::from_secs(1);
    let expected = Rotation {
        size: Some(1_000_000),
        interval: Some(60 * second),
        count: Some(5),
        most: Some(10 << 30),
        command: Some("gzip".into()),
        sync: Some(second / 2),
    };
    assert_eq!(captured(words).delivery.rotation, expected);
    assert_eq!(captured("-w x").delivery.rotation, Rotation::default());
    let words = "-w x --trigger tcp --before 30 --after 0.5 --before-size 1k";
    let expected = TriggerChoice {
        filter: "tcp".into(),
        before: 30 * second,
        after: second / 2,
        memory: 1024,
    };
    assert_eq!(captured(words).delivery.trigger, Some(expected));
    assert!(matches!(
        parse_words("-r y -w x -C 1 -W 3 -z gzip"),
        Ok(Command::Read(_))
    ));
}

#[test]
fn options_of_files_that_make_no_sense_are_refused() {
    check("-C 1", "-C needs a file to write", "-w FILE");
    check("-w - -G 1", "-G cannot be used with -w -", "choose a file");
    check("-w x -W 3", "-W needs -C or -G", "-C SIZE");
    check("-w x -z gzip", "-z needs -C or -G", "-C SIZE");
    check(
        "-w x --max-total 1G",
        "--max-total needs -C or -G",
        "-G SECONDS",
    );
    check(
        "-r y -w x -G 60",
        "-G cannot be used with -r",
        "editcap -i SECONDS",
    );
    check(
        "-r y -w x --sync 1",
        "--sync cannot be used with -r",
        "read again",
    );
    check(
        "-w x -C 1 --max-total 1999999",
        "--max-total has to be twice the size of -C at least",
        "would be removed",
    );
    check(
        "-C 1 --summary",
        "-C cannot be used with --summary",
        "counts drops",
    );
    check("-C 1 --why", "--why and -C cannot be used together", "");
    check(
        "-G 0 -w x",
        "invalid value '0' for -G: expected whole seconds from 1 to 2147483647",
        "",
    );
    check(
        "--trigger tcp --before 1",
        "--trigger needs --before and --after",
        "--after 10",
    );
    check("--after 1", "--after needs --trigger", "EXPR");
    check("--before-size 1k", "--before-size needs --trigger", "EXPR");
}
