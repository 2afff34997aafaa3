//! Finds the rules that can have dropped a packet: walks through all chains of the hook, with all that is not known
//! taken both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{PacketFacts, RuleValue, Truth};
use super::hook::PacketHook;
use super::lookup::{compare, found};
use super::ruleset::{
    ElementData, ElementSet, Expression, FilterChain, FilterRule, RuleCondition, Ruleset,
    SetReference, Statement, Verdict,
};
use super::state::{States, WalkState, last_change, set_mark};
use crate::why::DropCase;

/// The deepest nesting of jumps. The kernel allows 16.
const MAX_DEPTH: usize = 20;
/// The most rules and elements of sets that are looked at, each as often as it is come to.
const MAX_STEPS: usize = 2_000_000;
/// The most states that are told apart.
const MAX_STATES: usize = 64;

/// Something that can have dropped the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The position of the chain.
    pub chain: usize,
    /// The position of the rule; `None`: the policy.
    pub rule: Option<usize>,
    /// A packet that comes to it is certainly dropped.
    pub is_sure: bool,
}

/// The ways that the packet can have gone.
#[derive(Debug, Default)]
pub struct Walk {
    /// All that can have dropped it, in the order of the chains.
    pub suspects: Vec<Suspect>,
    /// It can have passed all chains.
    pub can_pass: bool,
}

/// The result of a chain.
#[derive(Clone, Debug, Default)]
struct ChainOutcome {
    /// Comes back to the caller, or to the policy.
    ended: States,
    /// Leaves the base chain.
    accepted: States,
}

struct Walker<'w> {
    ruleset: &'w Ruleset,
    facts: PacketFacts<'w>,
    hook: PacketHook,
    mark: u32,
    steps: usize,
    outcomes: BTreeMap<(usize, States), ChainOutcome>,
    suspects: Vec<Suspect>,
    /// Drops in the base chain that is walked through count.
    can_drop: bool,
}

/// Walks through the chains of a hook; `None` where this takes too long. `output`: the device that the packet would
/// have left by, where the drop does not tell it.
pub fn walk(
    ruleset: &Ruleset,
    case: &DropCase,
    hook: PacketHook,
    output: Option<&str>,
) -> Option<Walk> {
    let mut chains: Vec<_> = (0..ruleset.chains.len())
        .filter(|&chain| hook.has(&ruleset.chains[chain], case.device.as_deref()))
        .collect();
    let priority = |chain: usize| {
        let base = ruleset.chains[chain].base.as_ref();
        // The priority of a chain that translates orders it among its like alone.
        let translates = base.is_some_and(|base| base.is_nat);
        let translation = hook.translation().filter(|_| translates);
        translation.or(base.map(|base| base.priority)).unwrap_or(0)
    };
    // Of two with the same priority the kernel takes the one first that was made last.
    chains.reverse();
    chains.sort_by_key(|&chain| priority(chain));
    let mut walker = Walker {
        ruleset,
        facts: PacketFacts::new(case, hook, output),
        hook,
        mark: case.mark,
        steps: 0,
        outcomes: BTreeMap::new(),
        suspects: Vec::new(),
        can_drop: false,
    };
    let is_nat = |chain: &FilterChain| chain.base.as_ref().is_some_and(|base| base.is_nat);
    let translation = hook
        .translation()
        .filter(|_| ruleset.chains.iter().any(is_nat));
    let mut states = walker.first_states(&chains, translation.is_some());
    let mut is_translated = false;
    for group in chains.chunk_by(|&one, &other| priority(one) == priority(other)) {
        // What was decided for a connection before is done without any rule.
        if translation.is_some_and(|translation| translation <= priority(group[0]))
            && !is_translated
        {
            is_translated = true;
            states.extend(last_change(&states));
        }
        states = walker.base_chains(group, &states)?;
    }
    Some(Walk {
        can_pass: states.iter().any(WalkState::is_final),
        suspects: walker.suspects,
    })
}

impl<'w> Walker<'w> {
    /// Returns the states at the begin: nothing changes the packet, or something does later.
    fn first_states(&self, chains: &[usize], is_translated: bool) -> States {
        let reached = self.reached(chains);
        let rules = reached
            .iter()
            .flat_map(|&chain| &self.ruleset.chains[chain].rules);
        let statements: Vec<_> = rules.flat_map(|rule| &rule.statements).collect();
        let state = WalkState {
            mark: Some(self.mark),
            is_mark_final: true,
            is_packet_final: true,
        };
        let mut states = States::from([state]);
        let sets_mark =
            |one: &&Statement| matches!(one, Statement::SetMark(_) | Statement::Unknown);
        if statements.iter().any(sets_mark) {
            states.insert(WalkState {
                mark: None,
                is_mark_final: false,
                ..state
            });
        }
        let changes = |one: &&Statement| matches!(one, Statement::Mangle | Statement::Unknown);
        if is_translated || statements.iter().any(changes) {
            let later = states.clone().into_iter().map(|state| WalkState {
                is_packet_final: false,
                ..state
            });
            states.extend(later);
        }
        states
    }

    /// Returns the chains that a packet can come to from these.
    fn reached(&self, chains: &[usize]) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut waiting = chains.to_vec();
        while let Some(chain) = waiting.pop() {
            if !reached.insert(chain) {
                continue;
            }
            let rules = &self.ruleset.chains[chain].rules;
            for statement in rules.iter().flat_map(|rule| &rule.statements) {
                match statement {
                    Statement::Verdict(verdict) => waiting.extend(self.target(chain, verdict)),
                    Statement::VerdictMap(_, map) => {
                        let map = self.set(map, chain);
                        for element in map.map(|map| &map.elements).into_iter().flatten() {
                            if let ElementData::Verdict(verdict) = &element.data {
                                waiting.extend(self.target(chain, verdict));
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        reached
    }

    /// Returns the chain that a verdict leads to from another.
    fn target(&self, from: usize, verdict: &Verdict) -> Option<usize> {
        let (Verdict::Jump(name) | Verdict::Goto(name)) = verdict else {
            return None;
        };
        let here = &self.ruleset.chains[from];
        self.ruleset.chains.iter().position(|chain| {
            (chain.tool, &chain.family, &chain.table) == (here.tool, &here.family, &here.table)
                && chain.name == *name
        })
    }

    /// Walks through base chains of one priority, whose order is likely, not certain. Returns the states behind them.
    fn base_chains(&mut self, chains: &[usize], states: &States) -> Option<States> {
        let mut passed = states.clone();
        for &chain in chains {
            passed = self.base_chain(chain, passed)?;
        }
        if chains.len() > 1 {
            let mut backwards = states.clone();
            for &chain in chains.iter().rev() {
                self.base_chain(chain, states.clone())?;
                backwards = self.base_chain(chain, backwards)?;
            }
            passed.extend(backwards);
        }
        Some(passed)
    }

    /// Walks through a base chain. Returns the states behind it.
    fn base_chain(&mut self, chain: usize, states: States) -> Option<States> {
        let ruleset = self.ruleset;
        let Some(base) = ruleset.chains[chain].base.as_ref() else {
            return Some(states);
        };
        self.can_drop = self.hook.can_drop(&ruleset.chains[chain]);
        let is_entered = self.hook.surely_enters(base);
        let mut passed = if is_entered {
            States::new()
        } else {
            states.clone()
        };
        let ChainOutcome { ended, accepted } = self.chain(chain, states, 0)?;
        passed.extend(accepted);
        if base.drops {
            self.suspect((chain, None), &ended, is_entered);
        } else {
            passed.extend(ended);
        }
        Some(passed)
    }

    /// Notes what drops packets in these states.
    fn suspect(&mut self, at: (usize, Option<usize>), states: &States, is_sure: bool) {
        if !self.can_drop || !states.iter().any(WalkState::is_final) {
            return;
        }
        let known = self
            .suspects
            .iter_mut()
            .find(|known| (known.chain, known.rule) == at);
        match known {
            Some(known) => known.is_sure &= is_sure,
            None => self.suspects.push(Suspect {
                chain: at.0,
                rule: at.1,
                is_sure,
            }),
        }
    }

    fn chain(&mut self, chain: usize, mut states: States, depth: usize) -> Option<ChainOutcome> {
        if states.len() > MAX_STATES || depth > MAX_DEPTH {
            return None;
        }
        let key = (chain, states.clone());
        if let Some(outcome) = self.outcomes.get(&key) {
            return Some(outcome.clone());
        }
        let mut outcome = ChainOutcome::default();
        let ruleset = self.ruleset;
        for (position, rule) in ruleset.chains[chain].rules.iter().enumerate() {
            if states.is_empty() {
                break;
            }
            states = self.rule(chain, position, rule, states, &mut outcome, depth)?;
        }
        outcome.ended.extend(states);
        self.outcomes.insert(key, outcome.clone());
        Some(outcome)
    }

    /// Counts what is done; `None` where it is too much.
    fn step(&mut self, count: usize) -> Option<()> {
        self.steps += count;
        (self.steps <= MAX_STEPS).then_some(())
    }

    /// Evaluates a rule. Returns the states in which the next one is come to.
    fn rule(
        &mut self,
        chain: usize,
        position: usize,
        rule: &'w FilterRule,
        states: States,
        outcome: &mut ChainOutcome,
        depth: usize,
    ) -> Option<States> {
        self.step(1)?;
        let at = (chain, position);
        // Those for which the rule goes on, and those for which it has ended.
        let mut running = states;
        let mut past = States::new();
        let mut is_sure = true;
        for statement in &rule.statements {
            if running.is_empty() {
                break;
            }
            match statement {
                Statement::Match(condition) => {
                    let set = self.set(&condition.right, chain);
                    self.step(set.map_or(1, |set| set.elements.len()))?;
                    let mut matching = States::new();
                    for state in running {
                        let truth = self.holds(condition, chain, state);
                        is_sure &= truth != Truth::Maybe;
                        if truth != Truth::No {
                            matching.insert(state);
                        }
                        if truth != Truth::Yes {
                            past.insert(state);
                        }
                    }
                    running = matching;
                }
                Statement::Maybe => {
                    is_sure = false;
                    past.extend(&running);
                }
                Statement::NeverReached => {
                    past.extend(std::mem::take(&mut running));
                }
                Statement::Mangle => running = last_change(&running),
                Statement::SetMark(value) => {
                    let mut marked = States::new();
                    for state in running {
                        let (set, is_possible) = self.new_mark(value, chain, state);
                        if is_possible != Truth::Yes {
                            is_sure = false;
                            past.insert(state);
                        }
                        if is_possible != Truth::No {
                            marked.extend(set_mark(state, set, self.mark));
                        }
                    }
                    running = marked;
                }
                Statement::Translate => {
                    let mut translated = last_change(&running);
                    translated.extend(&running);
                    self.suspect((at.0, Some(at.1)), &translated, false);
                    outcome.accepted.extend(translated);
                    running = States::new();
                }
                Statement::Unknown => {
                    is_sure = false;
                    let mut all = last_change(&running);
                    all.extend(&running);
                    let marked: States = all
                        .iter()
                        .flat_map(|&state| set_mark(state, None, self.mark))
                        .collect();
                    all.extend(marked);
                    self.suspect((at.0, Some(at.1)), &all, false);
                    outcome.accepted.extend(&all);
                    past.extend(&all);
                    running = all;
                }
                Statement::Verdict(verdict) => {
                    let packets = std::mem::take(&mut running);
                    past.extend(self.decide(at, verdict, packets, is_sure, outcome, depth)?);
                }
                Statement::VerdictMap(key, map) => {
                    let packets = std::mem::take(&mut running);
                    past.extend(self.decide_by_map(at, (key, map), &packets, outcome, depth)?);
                }
            }
        }
        past.extend(running);
        Some(past)
    }

    /// Carries a verdict out. Returns the states in which the next rule is come to.
    fn decide(
        &mut self,
        at: (usize, usize),
        verdict: &Verdict,
        states: States,
        is_sure: bool,
        outcome: &mut ChainOutcome,
        depth: usize,
    ) -> Option<States> {
        match verdict {
            Verdict::Accept | Verdict::Queue => outcome.accepted.extend(states),
            Verdict::Drop => self.suspect((at.0, Some(at.1)), &states, is_sure),
            Verdict::Return => outcome.ended.extend(states),
            Verdict::Continue => return Some(states),
            Verdict::Jump(_) | Verdict::Goto(_) => {
                return self.lead(at.0, verdict, states, outcome, depth);
            }
        }
        Some(States::new())
    }

    /// Leads packets to another chain. Returns the states in which they come back.
    fn lead(
        &mut self,
        from: usize,
        verdict: &Verdict,
        states: States,
        outcome: &mut ChainOutcome,
        depth: usize,
    ) -> Option<States> {
        let target = self.target(from, verdict)?;
        let inner = self.chain(target, states, depth + 1)?;
        outcome.accepted.extend(inner.accepted);
        if matches!(verdict, Verdict::Jump(_)) {
            return Some(inner.ended);
        }
        outcome.ended.extend(inner.ended);
        Some(States::new())
    }

    fn decide_by_map(
        &mut self,
        at: (usize, usize),
        (key, map): (&'w Expression, &'w SetReference),
        states: &States,
        outcome: &mut ChainOutcome,
        depth: usize,
    ) -> Option<States> {
        let mut past = States::new();
        self.step(self.set(map, at.0)?.elements.len())?;
        for &state in states {
            let value = self.facts.value(key, state.is_packet_final, state.mark);
            let (found, can_miss) = found(&value, self.set(map, at.0)?);
            let is_sure = !can_miss && found.len() == 1;
            if can_miss {
                past.insert(state);
            }
            for element in found {
                let one = States::from([state]);
                past.extend(match &element.data {
                    ElementData::Verdict(verdict) => {
                        self.decide(at, verdict, one, is_sure, outcome, depth)?
                    }
                    _ => one,
                });
            }
        }
        Some(past)
    }

    fn set(&self, set: &'w SetReference, chain: usize) -> Option<&'w ElementSet> {
        match set {
            SetReference::Anonymous(set) => Some(set),
            SetReference::Named(name) => {
                let FilterChain { family, table, .. } = &self.ruleset.chains[chain];
                let key = (family.clone(), table.clone(), name.clone());
                self.ruleset.sets.get(&key)
            }
        }
    }

    /// Returns the mark that an expression gives, and whether it gives one: a map may have none for the packet.
    fn new_mark(
        &self,
        value: &'w Expression,
        chain: usize,
        state: WalkState,
    ) -> (Option<u32>, Truth) {
        let fact = match value {
            Expression::Map(key, map) => {
                let key = self.facts.value(key, state.is_packet_final, state.mark);
                let Some(map) = self.set(map, chain) else {
                    return (None, Truth::Maybe);
                };
                let (found, can_miss) = found(&key, map);
                match (found.as_slice(), can_miss) {
                    ([], _) if !map.is_changing => return (None, Truth::No),
                    ([one], false) => match &one.data {
                        ElementData::Value(pattern) => pattern
                            .number()
                            .map_or(RuleValue::Unknown, RuleValue::Number),
                        _ => RuleValue::Unknown,
                    },
                    _ => return (None, Truth::Maybe),
                }
            }
            value => self.facts.value(value, state.is_packet_final, state.mark),
        };
        match fact {
            RuleValue::Number(number) => (u32::try_from(number).ok(), Truth::Yes),
            RuleValue::Missing => (None, Truth::No),
            _ => (None, Truth::Maybe),
        }
    }

    fn holds(&self, condition: &'w RuleCondition, chain: usize, state: WalkState) -> Truth {
        let value = self
            .facts
            .value(&condition.left, state.is_packet_final, state.mark);
        if value == RuleValue::Missing {
            return Truth::No;
        }
        let Some(set) = self.set(&condition.right, chain) else {
            return Truth::Maybe;
        };
        compare(&condition.operator, &value, set)
    }
}
