//! Recorded hosts and drops for the tests of families.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{CauseFamily, DropCase, FAMILIES, diagnose};
use crate::host::holder::{HeldSocket, HeldSockets, HostProcess, SocketHolders, SocketOptions};
use crate::host::inet_socket::{InetSocket, PortProtocol, PortSockets};
use crate::host::link::{NetworkLink, NetworkLinks};
use crate::host::{HostState, Question, Unseen, key};

/// A host with some answers.
#[derive(Clone, Default)]
pub struct RecordedHost(Map<String, Value>);

impl RecordedHost {
    /// Adds an answer.
    pub fn answer<Q: Question>(mut self, question: &Q, answer: &Q::Answer) -> Self {
        self.0
            .insert(key(question).unwrap(), json!({ "Ok": answer }));
        self
    }

    /// Adds a socket on port 7000, which the process 42 holds.
    pub fn socket(self, protocol: PortProtocol, address: &str, options: SocketOptions) -> Self {
        let socket = InetSocket {
            address: address.parse().unwrap(),
            port: 7000,
            peer: if address.contains(':') {
                "::"
            } else {
                "0.0.0.0"
            }
            .parse()
            .unwrap(),
            peer_port: 0,
            inode: 9,
            waiting: options.accept_queue.map_or(0, |(waiting, _)| waiting),
        };
        let held = HeldSocket {
            inode: 9,
            processes: vec![HostProcess {
                pid: 42,
                name: "daemon".into(),
                state: 'S',
            }],
            options: Some(options),
        };
        let held = HeldSockets {
            sockets: vec![held],
            is_complete: true,
        };
        self.links(&[("in0", None), ("out0", None)])
            .answer(&sockets(protocol), &vec![socket])
            .answer(&SocketHolders(vec![9]), &held)
    }

    /// Adds devices with their kinds.
    pub fn links(self, links: &[(&str, Option<&str>)]) -> Self {
        let links = links
            .iter()
            .zip(2..)
            .map(|(&(name, kind), index)| NetworkLink {
                index,
                name: name.into(),
                kind: kind.map(str::to_owned),
                ..NetworkLink::default()
            });
        self.answer(&NetworkLinks, &links.collect())
    }

    /// Returns the host.
    pub fn state(self) -> HostState {
        HostState::replay(&Value::Object(self.0).to_string()).unwrap()
    }
}

/// The question for the sockets on port 7000.
pub fn sockets(protocol: PortProtocol) -> PortSockets {
    PortSockets {
        protocol,
        port: 7000,
        is_connected: false,
    }
}

/// A drop of a packet from 10.1.0.1 to port 7000 of 10.1.0.2, which came in by in0. Of TCP, with these flags.
pub fn drop_of(protocol: PortProtocol, flags: u8, reason: &str, function: &str) -> DropCase {
    let number = match protocol {
        PortProtocol::Tcp => 6,
        PortProtocol::Udp => 17,
    };
    let mut data = vec![0; 12];
    data.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, number, 0, 0]);
    data.extend([10, 1, 0, 1, 10, 1, 0, 2]);
    data.extend([0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags]);
    data.resize(54, 0);
    DropCase {
        reason: Some(reason.into()),
        function: Some(function.into()),
        device: Some("in0".into()),
        input_name: Some("in0".into()),
        protocol: Some(0x0800),
        link: 1,
        data,
        length: 54,
        ..DropCase::default()
    }
}

/// A look that `tests/guest/why/run.py --record` left: the drop, the answers of the host, and the finding.
#[derive(Deserialize, Serialize)]
pub struct RecordedLook {
    pub answers: Value,
    pub case: DropCase,
    finding: Value,
}

/// Returns the paths of all looks that were recorded.
pub fn paths() -> impl Iterator<Item = PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts");
    let files = fs::read_dir(&folder).unwrap();
    files.map(|file| file.unwrap().path())
}

/// Reads a look.
pub fn read(path: &Path) -> RecordedLook {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// With UPDATE_GOLDEN, the findings are written anew: their words may change, what is found may not.
#[test]
fn looks_that_were_recorded_on_a_real_kernel_find_the_same_again() {
    let mut causes = BTreeSet::new();
    for path in paths() {
        let name = path.file_name().unwrap().display();
        let mut look = read(&path);
        let host = HostState::replay(&look.answers.to_string()).unwrap();
        let finding = serde_json::to_value(diagnose(&look.case, &host)).unwrap();
        for key in ["cause", "grade", "object"] {
            assert_eq!(finding.get(key), look.finding.get(key), "{name}");
        }
        if finding != look.finding && std::env::var_os("UPDATE_GOLDEN").is_some() {
            look.finding = finding.clone();
            fs::write(&path, serde_json::to_string_pretty(&look).unwrap() + "\n").unwrap();
        }
        assert_eq!(
            finding, look.finding,
            "{name}; UPDATE_GOLDEN=1 writes it anew"
        );
        // What was not asked then would be answered with less than the host knew.
        let text = finding.to_string();
        assert!(
            !text.contains(&Unseen::NotRecorded.to_string()),
            "{name}: {text}"
        );
        causes.extend(finding["cause"].as_str().map(str::to_owned));
    }
    let is_recorded = |family: &&CauseFamily| {
        let mut ids = family.causes.iter().map(|cause| cause.id);
        ids.any(|id| causes.contains(id))
    };
    let missing = FAMILIES
        .iter()
        .copied()
        .filter(|family| !is_recorded(family));
    let missing: Vec<_> = missing.map(|family| family.title).collect();
    assert_eq!(missing, [""; 0], "families without a recorded look");
}
