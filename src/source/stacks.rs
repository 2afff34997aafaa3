//! Makes the call stacks of eBPF programs' reports those of drops: without the frames of the tracepoint, and
//! with symbols.

use crate::cache::Cache;
use crate::ebpf::report::CallStack;
use crate::record::Stack;
use crate::symbol::Symbols;

/// The call stacks of a run. Most drops of a flood have one of a few, which are kept.
pub struct Stacks {
    /// Frames that are kept of each.
    frames: usize,
    /// By the place of the drop and the addresses.
    known: Cache<u64, Vec<u8>>,
    /// One that is not kept.
    fresh: Vec<u8>,
    /// The least number of frames in front of the place: the tracepoint's, and that of the function which frees
    /// packets.
    own_frames: Option<usize>,
}

impl Stacks {
    /// Keeps so many frames of each.
    pub fn new(frames: u8) -> Self {
        Self {
            frames: frames.into(),
            known: Cache::new(),
            fresh: Vec::new(),
            own_frames: None,
        }
    }

    /// Returns the call stack of a drop at the place `pc`, from there outwards.
    pub fn find(
        &mut self,
        stack: CallStack<'_>,
        pc: u64,
        symbols: &mut Symbols,
    ) -> Option<Stack<'_>> {
        let pieces = &[stack.0];
        if self.known.find(&pc, pieces).is_none() {
            // Else it may get more names later.
            let is_final = self.write(stack, pc, symbols);
            let fresh = &self.fresh;
            let keep = |_: &[u8], text: &mut Vec<u8>| text.clone_from(fresh);
            if !is_final || self.known.get(&pc, pieces, keep).is_none() {
                return Stack::known(&self.fresh);
            }
        }
        Stack::known(self.known.find(&pc, pieces)?)
    }

    /// Writes a stack into [`Self::fresh`], and returns whether its names are final.
    fn write(&mut self, stack: CallStack<'_>, pc: u64, symbols: &mut Symbols) -> bool {
        let addresses = stack.addresses();
        let start = match addresses.clone().position(|address| address == pc) {
            Some(start) => {
                self.own_frames = Some(self.own_frames.map_or(start, |least| least.min(start)));
                start
            }
            // A place that is no return address: the kernel's queue of packets to be freed gives its own
            // function (net_tx_action), in which no function that frees packets was called.
            None => self.own_frames.unwrap_or(0).saturating_sub(1),
        };
        self.fresh.clear();
        let mut is_final = true;
        for address in addresses.skip(start).take(self.frames) {
            is_final &= symbols.with_name(address, |name| Stack::push(&mut self.fresh, name));
        }
        is_final
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const KALLSYMS: &str = "1000 t bpf_prog\n1100 T __traceiter_kfree_skb\n1200 T sk_skb_reason_drop\n\
                            2000 T udp_rcv\n2100 T ip_rcv\n2200 T net_tx_action\n2300 t end\n";

    fn symbols(content: &str) -> Symbols {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        Symbols::new(Some(file))
    }

    #[track_caller]
    fn check(stacks: &mut Stacks, symbols: &mut Symbols, addresses: &[u64], pc: u64, text: &str) {
        let bytes: Vec<u8> = addresses
            .iter()
            .flat_map(|address| address.to_ne_bytes())
            .collect();
        // The second time, it is a known one.
        for _ in 0..2 {
            let found = stacks.find(CallStack(&bytes), pc, symbols);
            let found = found.map(|stack| stack.to_string()).unwrap_or_default();
            assert_eq!(found, text);
        }
    }

    const UDP: [u64; 6] = [0x1010, 0x1110, 0x1210, 0x2020, 0x2120, 0x2310];

    #[test]
    fn a_stack_begins_with_the_place_of_the_drop() {
        let mut symbols = symbols(KALLSYMS);
        let mut stacks = Stacks::new(2);
        let mut check = |stacks: &mut _, addresses: &[u64], pc, text| {
            check(stacks, &mut symbols, addresses, pc, text);
        };
        let udp = "udp_rcv+0x20/0x100;ip_rcv+0x20/0x100";
        check(&mut stacks, &UDP, 0x2020, udp);
        // The same stack with another place is another one.
        check(
            &mut stacks,
            &UDP,
            0x2120,
            "ip_rcv+0x20/0x100;end+0x10/0xd00",
        );
        check(&mut stacks, &UDP, 0x2020, udp);
        // The kernel's queue of packets to be freed says its own function, and frees nothing there.
        let queue = [0x1010, 0x1110, 0x2240, 0x2310];
        let text = "net_tx_action+0x40/0x100;end+0x10/0xd00";
        check(&mut stacks, &queue, 0x2200, text);
        check(&mut stacks, &[], 0x2020, "");
    }

    #[test]
    fn a_known_stack_allocates_nothing() {
        let mut symbols = symbols(KALLSYMS);
        let mut stacks = Stacks::new(24);
        let bytes = UDP.map(u64::to_ne_bytes).concat();
        let mut find = || {
            let found = stacks.find(CallStack(&bytes), 0x2020, &mut symbols);
            assert_eq!(found.unwrap().frames().count(), 3);
        };
        find();
        let taken = allocation_counter::measure(|| (0..1000).for_each(|_| find()));
        assert_eq!(taken.count_total, 0);
    }

    #[test]
    fn without_symbols_a_stack_consists_of_addresses() {
        let mut symbols = symbols("0000000000000000 T udp_rcv\n");
        let mut stacks = Stacks::new(64);
        check(&mut stacks, &mut symbols, &UDP, 0x2120, "0x2120;0x2310");
    }

    #[test]
    fn any_number_of_frames_is_a_stack() {
        let mut symbols = symbols(KALLSYMS);
        let mut stacks = Stacks::new(255);
        let addresses = 0x2020_u64.to_ne_bytes().repeat(5000);
        let stack = stacks.find(CallStack(&addresses), 0x2020, &mut symbols);
        assert_eq!(stack.unwrap().frames().count(), 255);
    }

    #[test]
    fn a_function_of_a_module_that_was_loaded_later_gets_its_name() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(KALLSYMS.as_bytes()).unwrap();
        let mut symbols = Symbols::new(Some(file.try_clone().unwrap()));
        let mut stacks = Stacks::new(64);
        let later = [0x2020, 0x3000_0010];
        check(
            &mut stacks,
            &mut symbols,
            &UDP[3..4],
            0x2020,
            "udp_rcv+0x20/0x100",
        );
        let text = "udp_rcv+0x20/0x100;0x30000010";
        check(&mut stacks, &mut symbols, &later, 0x2020, text);
        write!(
            file,
            "30000000 t gre_rcv\t[gre]\n30000020 t gre_err\t[gre]\n"
        )
        .unwrap();
        let text = "udp_rcv+0x20/0x100;gre_rcv+0x10/0x20 [gre]";
        let bytes = later.map(u64::to_ne_bytes).concat();
        let wait = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while std::time::Instant::now() < wait {
            let found = stacks.find(CallStack(&bytes), 0x2020, &mut symbols);
            if found.unwrap().to_string() == text {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("it has no name");
    }
}
