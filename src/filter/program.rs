//! The compiled filter: a list of predicates, each with two branches.
//!
//! Negations are pushed down to the predicates (De Morgan's laws hold for three truth values too),
//! so that each predicate needs one certain answer; an unknown answer takes the `miss` branch
//! either way. There is one entry point for each class of network header, which skips the
//! predicates that the class decides. Nothing is allocated for a packet. A walk over the expression's
//! tree instead makes reading a file take 1.13 times as long where few packets match.

use super::ast::{Chain, Connective, Expr, PortRange, Primitive};
use super::inner;
use super::layout::FramingLayouts;
use super::packet::{FramedPacket, Lookup};
use super::predicate::Predicate;
use super::view::{Class, PacketView};

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    /// The steps in reverse order: each leads to an earlier step, or ends the program.
    steps: Vec<ProgramStep>,
    /// The first step for a packet of each class.
    entries: [BranchTarget; Class::ALL.len()],
    /// The header offsets at each position of the expression; the first entry is its beginning.
    places: Vec<FramingLayouts>,
    /// The programs for packets inside tunnels.
    inner: Vec<Program>,
}

#[derive(Clone, Debug)]
struct ProgramStep {
    ask: Ask,
    /// The answer that counts as a hit.
    wanted: bool,
    /// The next step on a hit.
    hit: BranchTarget,
    miss: BranchTarget,
}

#[derive(Clone, Debug)]
enum Ask {
    /// A predicate with the offsets at the beginning of the expression.
    Predicate(Predicate),
    /// A predicate after a word that moved the headers, with the index of its offsets.
    Moved(Predicate, usize),
    /// A program that runs on the packet inside the tunnel. It is compiled for the wanted answer,
    /// so that it is a hit if it holds.
    Inner(usize),
}

/// The index of the next step; any other value ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BranchTarget(u32);

impl BranchTarget {
    const KEEP: Self = Self(u32::MAX);
    const REJECT: Self = Self(u32::MAX - 1);
}

impl Program {
    /// Returns the program that keeps every packet.
    pub fn all() -> Self {
        Self {
            steps: Vec::new(),
            entries: [BranchTarget::KEEP; Class::ALL.len()],
            places: vec![FramingLayouts::start()],
            inner: Vec::new(),
        }
    }

    /// Compiles the program that keeps the packets for which `expr` certainly has the value
    /// `wanted`.
    pub fn new(expr: &Expr, wanted: bool) -> Self {
        let mut program = Self::all();
        // First in text order, for the header offsets; then backwards, because each step must know
        // the next one.
        let mut leaves = Vec::new();
        let mut place = 0;
        program.find_leaves(expr, wanted, &mut place, &mut leaves);
        for class in Class::ALL {
            let mut compiler = Compiler {
                steps: &mut program.steps,
                leaves: &leaves,
                class,
                ports: Vec::new(),
            };
            let entry = compiler.compile(expr, wanted, BranchTarget::KEEP, BranchTarget::REJECT);
            program.entries[class as usize] = entry;
        }
        program
    }

    /// Collects the predicates and tunnel programs in text order.
    fn find_leaves(
        &mut self,
        expr: &Expr,
        wanted: bool,
        place: &mut usize,
        leaves: &mut Vec<ProgramLeaf>,
    ) {
        match expr {
            Expr::Chain(chain) => {
                self.find_leaves(&chain.first, wanted, place, leaves);
                for (_, expr) in &chain.rest {
                    self.find_leaves(expr, wanted, place, leaves);
                }
            }
            Expr::Not(expr) => self.find_leaves(expr, !wanted, place, leaves),
            Expr::Inner(expr) => {
                // The packet inside has its own offsets.
                self.inner.push(Self::new(expr, wanted));
                leaves.push(ProgramLeaf::Inner(self.inner.len() - 1));
            }
            Expr::Primitive(primitive) => {
                leaves.push(ProgramLeaf::Predicate(Predicate::new(primitive), *place));
                let here = self.places[*place];
                let next = match primitive {
                    Primitive::Vlan(_) => here.behind_vlan(),
                    Primitive::Mpls(_) => here.behind_mpls(),
                    Primitive::Pppoes(_) => here.behind_pppoes(),
                    _ => return,
                };
                *place = self.places.len();
                self.places.push(next);
            }
        }
    }

    /// Returns whether the packet is kept.
    #[inline]
    pub fn holds(&self, packet: &FramedPacket<'_>) -> bool {
        let layout = self.places[0].layout(packet);
        let view = PacketView {
            packet,
            layout,
            kind: layout.ether_type(packet),
        };
        let mut target = self.entries[Class::of(view.kind) as usize];
        while let Some(step) = self.steps.get(target.0 as usize) {
            let is_hit = match &step.ask {
                Ask::Predicate(predicate) => predicate.answer(&view) == Some(step.wanted),
                Ask::Moved(predicate, place) => {
                    self.answer_at(*place, predicate, packet) == Some(step.wanted)
                }
                Ask::Inner(program) => match inner::packet(packet) {
                    Some(Lookup::Found(inside)) => self.inner[*program].holds(&inside),
                    Some(Lookup::Absent) => !step.wanted,
                    None => false,
                },
            };
            target = if is_hit { step.hit } else { step.miss };
        }
        target == BranchTarget::KEEP
    }

    /// Returns the answer of a predicate after a word that moved the headers.
    #[inline(never)]
    fn answer_at(
        &self,
        place: usize,
        predicate: &Predicate,
        packet: &FramedPacket<'_>,
    ) -> Option<bool> {
        let layout = self.places[place].layout(packet);
        let view = PacketView {
            packet,
            layout,
            kind: layout.ether_type(packet),
        };
        predicate.answer(&view)
    }
}

/// A part of the expression that is not divided further.
enum ProgramLeaf {
    /// A predicate, with the index of its offsets.
    Predicate(Predicate, usize),
    Inner(usize),
}

/// Compiles an expression from its end to its beginning, for packets of one class.
struct Compiler<'a> {
    steps: &'a mut Vec<ProgramStep>,
    /// The leaves that are not compiled yet.
    leaves: &'a [ProgramLeaf],
    class: Class,
    /// Port ranges to be merged into the next leaf.
    ports: Vec<PortRange>,
}

impl Compiler<'_> {
    /// Adds the steps that lead to `hit` where `expr` is `wanted`, else to `miss`.
    fn compile(
        &mut self,
        expr: &Expr,
        wanted: bool,
        hit: BranchTarget,
        miss: BranchTarget,
    ) -> BranchTarget {
        match expr {
            Expr::Chain(chain) => {
                let (mut hit, mut miss) = (hit, miss);
                for (index, (connective, expr)) in chain.rest.iter().enumerate().rev() {
                    if self.joins_ports(chain, index) {
                        continue;
                    }
                    let last = self.compile(expr, wanted, hit, miss);
                    // `not (a or b)` is `not a and not b`.
                    match (connective, wanted) {
                        (Connective::And, true) | (Connective::Or, false) => hit = last,
                        (Connective::Or, true) | (Connective::And, false) => miss = last,
                    }
                }
                self.compile(&chain.first, wanted, hit, miss)
            }
            Expr::Not(expr) => self.compile(expr, !wanted, hit, miss),
            Expr::Inner(_) | Expr::Primitive(_) => self.leaf(wanted, hit, miss),
        }
    }

    /// Merges an element into the one before it if `or` joins two tests of ports: the predicate
    /// before tests both. Returns whether it did.
    fn joins_ports(&mut self, chain: &Chain, index: usize) -> bool {
        let (before, is_or) = match index.checked_sub(1).map(|before| &chain.rest[before]) {
            Some((connective, expr)) => (expr, *connective == Connective::Or),
            None => (&*chain.first, true),
        };
        let (connective, expr) = &chain.rest[index];
        let are_primitives = matches!((before, expr), (Expr::Primitive(_), Expr::Primitive(_)));
        if !are_primitives || !is_or || *connective != Connective::Or {
            return false;
        }
        let [
            rest @ ..,
            ProgramLeaf::Predicate(first, place),
            ProgramLeaf::Predicate(second, same_place),
        ] = self.leaves
        else {
            return false;
        };
        let Some(range) = first.joined_port(second).filter(|_| place == same_place) else {
            return false;
        };
        self.ports.push(range);
        self.leaves = &self.leaves[..=rest.len()];
        true
    }

    fn leaf(&mut self, wanted: bool, hit: BranchTarget, miss: BranchTarget) -> BranchTarget {
        let Some((leaf, rest)) = self.leaves.split_last() else {
            return miss;
        };
        self.leaves = rest;
        let ports = std::mem::take(&mut self.ports);
        let ask = match leaf {
            ProgramLeaf::Predicate(predicate, 0) => match predicate.in_class(self.class) {
                Some(answer) if answer == wanted => return hit,
                Some(_) => return miss,
                None => Ask::Predicate(predicate.clone().with_ports(ports)),
            },
            ProgramLeaf::Predicate(predicate, place) => {
                Ask::Moved(predicate.clone().with_ports(ports), *place)
            }
            ProgramLeaf::Inner(program) => Ask::Inner(*program),
        };
        // Both answers lead to the same step.
        if hit == miss {
            return hit;
        }
        // No expression has so many steps: the parser's input would not fit into memory.
        let index = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        if index >= BranchTarget::REJECT.0 {
            return miss;
        }
        self.steps.push(ProgramStep {
            ask,
            wanted,
            hit,
            miss,
        });
        BranchTarget(index)
    }
}
