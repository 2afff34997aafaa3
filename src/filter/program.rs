//! The compiled form: tests in a row, each with two ways on. Negations are pushed down to the tests
//! (De Morgan's laws hold for three values, too), so that each asks for one certain answer; what is
//! unknown goes the way of "no", whatever was asked. Nothing is allocated for a packet.

use super::ast::{Connective, Expr, Primitive};
use super::inner;
use super::layout::Place;
use super::packet::{Lookup, Packet};
use super::test::Test;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    /// Every step leads to one before it, or out.
    steps: Vec<Step>,
    entry: Target,
    places: Vec<Place>,
    /// What is asked of packets in tunnels.
    inner: Vec<Program>,
}

#[derive(Clone, Debug)]
struct Step {
    ask: Ask,
    /// The answer asked for.
    wanted: bool,
    /// Where to go with that answer, and where with any other.
    hit: Target,
    miss: Target,
}

#[derive(Clone, Debug)]
enum Ask {
    /// A test at a place.
    Test(Test, usize),
    /// Whether there is a packet in a tunnel of which a program holds. That program is compiled
    /// for the answer wanted, so that here it is a hit either way.
    Inner(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Step(usize),
    Keep,
    Reject,
}

impl Program {
    /// Holds for every packet.
    pub fn all() -> Self {
        Self {
            steps: Vec::new(),
            entry: Target::Keep,
            places: Vec::new(),
            inner: Vec::new(),
        }
    }

    /// Holds where `expr` certainly is `wanted`.
    pub fn new(expr: &Expr, wanted: bool) -> Self {
        let mut program = Self::all();
        // Text order first, for the places; then backwards, for each step must know where to go.
        let mut places = Vec::new();
        let mut place = 0;
        program.places.push(Place::start());
        program.find_places(expr, &mut place, &mut places);
        program.entry = program.compile(expr, wanted, Target::Keep, Target::Reject, &mut places);
        program
    }

    /// The place of each primitive, in text order.
    fn find_places(&mut self, expr: &Expr, place: &mut usize, found: &mut Vec<usize>) {
        match expr {
            Expr::Chain(chain) => {
                self.find_places(&chain.first, place, found);
                for (_, expr) in &chain.rest {
                    self.find_places(expr, place, found);
                }
            }
            Expr::Not(expr) => self.find_places(expr, place, found),
            // The packet inside starts anew.
            Expr::Inner(_) => {}
            Expr::Primitive(primitive) => {
                found.push(*place);
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

    /// Adds the steps that lead to `hit` where `expr` is `wanted`, else to `miss`.
    fn compile(
        &mut self,
        expr: &Expr,
        wanted: bool,
        hit: Target,
        miss: Target,
        places: &mut Vec<usize>,
    ) -> Target {
        match expr {
            Expr::Chain(chain) => {
                let (mut hit, mut miss) = (hit, miss);
                for (connective, expr) in chain.rest.iter().rev() {
                    let last = self.compile(expr, wanted, hit, miss, places);
                    // `not (a or b)` is `not a and not b`.
                    match (connective, wanted) {
                        (Connective::And, true) | (Connective::Or, false) => hit = last,
                        (Connective::Or, true) | (Connective::And, false) => miss = last,
                    }
                }
                self.compile(&chain.first, wanted, hit, miss, places)
            }
            Expr::Not(expr) => self.compile(expr, !wanted, hit, miss, places),
            Expr::Inner(expr) => {
                self.inner.push(Self::new(expr, wanted));
                let ask = Ask::Inner(self.inner.len() - 1);
                self.step(ask, wanted, hit, miss)
            }
            Expr::Primitive(primitive) => {
                let place = places.pop().unwrap_or_default();
                let ask = Ask::Test(Test::new(primitive), place);
                self.step(ask, wanted, hit, miss)
            }
        }
    }

    fn step(&mut self, ask: Ask, wanted: bool, hit: Target, miss: Target) -> Target {
        self.steps.push(Step {
            ask,
            wanted,
            hit,
            miss,
        });
        Target::Step(self.steps.len() - 1)
    }

    /// Whether the packet is kept.
    pub fn holds(&self, packet: &Packet<'_>) -> bool {
        let mut target = self.entry;
        loop {
            let step = match target {
                Target::Step(index) => &self.steps[index],
                Target::Keep => return true,
                Target::Reject => return false,
            };
            let is_hit = match &step.ask {
                Ask::Test(test, place) => {
                    let layout = self.places[*place].layout(packet.framing);
                    test.answer(packet, layout) == Some(step.wanted)
                }
                Ask::Inner(program) => match inner::packet(packet) {
                    Some(Lookup::Found(inside)) => self.inner[*program].holds(&inside),
                    Some(Lookup::Absent) => !step.wanted,
                    None => false,
                },
            };
            target = if is_hit { step.hit } else { step.miss };
        }
    }
}
