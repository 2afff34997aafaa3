//! The raw sockets of a namespace.

use serde::{Deserialize, Serialize};

use super::{Question, Unseen, of_thread, read_file};

/// The IP protocols that raw sockets take; those of IPv6 if true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawSockets(pub bool);

/// The files: of IPv4, of IPv6.
pub const RAW_SOCKETS: [&str; 2] = ["/proc/net/raw", "/proc/net/raw6"];

impl Question for RawSockets {
    const NAME: &'static str = "raw sockets";
    type Answer = Vec<u8>;

    fn look(&self) -> Result<Vec<u8>, Unseen> {
        let path = of_thread(RAW_SOCKETS[usize::from(self.0)]);
        Ok(protocols(&read_file(&path)?))
    }
}

/// Parses the file (`raw_seq_show`, net/ipv4/raw.c): a line for each socket, whose protocol stands for the local
/// port, in hexadecimal digits.
fn protocols(text: &str) -> Vec<u8> {
    let protocol = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        u8::from_str_radix(local.rsplit_once(':')?.1.trim_start_matches('0'), 16).ok()
    };
    text.lines().skip(1).filter_map(protocol).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_stands_for_the_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                    \x20 89: 00000000:0059 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0\n\
                    x\n 1: zz\n 2: 0:1FF";
        assert_eq!(protocols(text), [89]);
    }
}
