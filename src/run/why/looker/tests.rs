use super::*;

fn at_once(case: &DropCase) -> CauseFinding {
    CauseFinding::new("quick", Grade::Certain, format!("in {:?}", case.function))
}

/// Takes a second for a drop in this function.
fn slow_in_places(case: &DropCase) -> CauseFinding {
    if case.is_in("slow") {
        thread::sleep(Duration::from_secs(1));
    }
    at_once(case)
}

fn failing(_: &DropCase) -> CauseFinding {
    panic!("a bug in a family")
}

fn dropped_in(function: &str) -> DropCase {
    DropCase {
        function: Some(function.to_owned()),
        ..DropCase::default()
    }
}

fn seen(finding: &CauseFinding) -> (&str, Grade, &str) {
    (&finding.cause, finding.grade, &finding.evidence[0].value)
}

/// A looker whose other end is a thread of this process.
fn looker(look: fn(&DropCase) -> CauseFinding) -> (Looker, JoinHandle<io::Result<()>>) {
    let (outside, inside) = UnixStream::pair().unwrap();
    let looks = LookThreads::new(Duration::from_mins(1), look);
    let thread = thread::spawn(move || serve(&inside, looks));
    (Looker::over(outside, None).unwrap(), thread)
}

fn all_answers(looker: &mut Looker) -> Vec<LookAnswer> {
    let mut answers = Vec::new();
    while looker.pending() > 0 {
        answers.extend(looker.answers().unwrap());
        thread::sleep(Duration::from_millis(1));
    }
    answers
}

#[test]
fn each_question_has_its_answer_in_order_however_many_wait() {
    let (mut looker, thread) = looker(at_once);
    // More than a socket holds.
    let large = "f".repeat(10_000);
    for number in 0..200 {
        let asked = looker.ask(dropped_in(&format!("{number}{large}"))).unwrap();
        assert_eq!(asked, number);
    }
    let answers = all_answers(&mut looker);
    let numbers: Vec<_> = answers.iter().map(|answer| answer.number).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    for LookAnswer { number, finding } in &answers {
        assert_eq!(finding.claim, format!("in Some(\"{number}{large}\")"));
    }
    drop(looker);
    // The stream's end ends the process.
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn a_look_that_hangs_is_unknown_after_its_time_and_the_next_are_not() {
    let mut looks = LookThreads::new(Duration::from_millis(50), slow_in_places);
    let hung = looks.look(dropped_in("slow"));
    let expected = "the look took longer than 0.05 seconds";
    assert_eq!(seen(&hung), (NOT_LOOKED, Grade::Unknown, expected));
    looks.patience = Duration::from_mins(1);
    assert_eq!(looks.look(dropped_in("fast")).claim, "in Some(\"fast\")");
}

#[test]
fn threads_that_hang_are_few_and_forgotten_when_they_end() {
    let mut looks = LookThreads::new(Duration::from_millis(1), slow_in_places);
    for _ in 0..MAX_STUCK {
        let hung = looks.look(dropped_in("slow"));
        assert!(seen(&hung).2.starts_with("the look took longer than "));
    }
    let refused = looks.look(dropped_in("fast"));
    let expected = "earlier looks have not ended yet";
    assert_eq!(seen(&refused), (NOT_LOOKED, Grade::Unknown, expected));
    assert_eq!(looks.stuck.len(), MAX_STUCK);
    looks.patience = Duration::from_mins(1);
    while looks.look(dropped_in("fast")).cause == NOT_LOOKED {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(looks.stuck.len() < MAX_STUCK);
}

#[test]
fn a_look_that_panics_is_unknown() {
    let mut looks = LookThreads::new(Duration::from_mins(1), failing);
    let failed = looks.look(dropped_in("any"));
    let expected = (NOT_LOOKED, Grade::Unknown, "the look failed");
    assert_eq!(seen(&failed), expected);
}

#[test]
fn a_namespace_that_is_gone_is_told() {
    let case = DropCase {
        // Inodes of namespaces are larger.
        netns: Some(1),
        ..DropCase::default()
    };
    let found = look_in_namespace(&case, &KeptReading::default());
    let expected = "the network namespace of the drop is gone, or this user may not see it";
    assert_eq!(seen(&found), (NOT_LOOKED, Grade::Unknown, expected));
}

#[test]
fn a_reading_serves_the_older_drops_of_its_namespace() {
    let kept = KeptReading::default();
    let dropped = |netns, time| DropCase {
        netns: Some(netns),
        time,
        ..DropCase::default()
    };
    let first = kept.take_for(&dropped(7, 1));
    let Timestamp(began) = first.began;
    kept.keep(first);
    let is_kept = |case: DropCase| {
        let reading = kept.take_for(&case);
        let is_kept = reading.began.0 == began;
        kept.keep(HostReading {
            netns: Some(7),
            began: Timestamp(began),
            ..reading
        });
        is_kept
    };
    assert!(is_kept(dropped(7, 1)) && is_kept(dropped(7, began)));
    // The host may have changed before this one, and another namespace is another host.
    assert!(!is_kept(dropped(7, began + 1)));
    assert!(!is_kept(dropped(8, 1)));
}

#[test]
fn a_process_that_died_is_an_error_at_once() {
    let (outside, inside) = UnixStream::pair().unwrap();
    let mut looker = Looker::over(outside, None).unwrap();
    assert!(looker.answers().unwrap().is_empty());
    drop(inside);
    let error = looker.answers().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(looker.ask(dropped_in("any")).is_err());
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    for nonsense in [&b"{}\n"[..], b"\n", b"\xff\n", &vec![b'x'; MAX_ANSWER + 1]] {
        let (outside, inside) = UnixStream::pair().unwrap();
        let mut looker = Looker::over(outside, None).unwrap();
        let text = nonsense.to_vec();
        let thread = thread::spawn(move || (&inside).write_all(&text).map(|()| inside));
        let error = loop {
            match looker.answers() {
                Ok(answers) => assert!(answers.is_empty()),
                Err(error) => break error,
            }
        };
        assert_ne!(error.kind(), ErrorKind::WouldBlock);
        drop(looker);
        let _ = thread.join().unwrap();
    }
}
