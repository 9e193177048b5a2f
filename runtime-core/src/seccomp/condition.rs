//! Rules that look at arguments, as a tree of 32-bit comparisons.
//!
//! The rules for one system call form a tree in which rules share their first comparisons. The nodes of a level
//! are tried in order; when a branch leads nowhere, the next node of the level is tried. So the tree is an OR of
//! its rules, and its order decides when rules with different actions overlap.
//!
//! That order is libseccomp's, since profiles are tested with it: later arguments first; equality before less
//! before greater; the narrower range first; a rule that only adds conditions to an older one never counts.
//! Rules with the same conditions and different actions are refused, as there.
//!
//! One thing differs on purpose. In libseccomp's tree, a rule's later conditions hang below several of its
//! comparisons (`>` on 64 bits needs three), and adding a rule below one of them changes the others too. A
//! profile with `a0 > 5 && a1 == 1` and `a0 > 10 && a1 == 2` then also matches 7 and 2. Here shared
//! branches are copied before they are changed.

use std::rc::Rc;

use super::profile::{Comparison, Condition};

/// Comparison of one 32-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    MaskedEqual,
    Greater,
    GreaterEqual,
}

/// Where a comparison leads.
#[derive(Debug, Clone)]
pub(super) enum Branch {
    /// To the next node of the level, or of the nearest level above that has one.
    Next,
    /// To a verdict.
    Return(u32),
    /// To further comparisons.
    Level(Level),
}

/// Nodes that are tried one after another.
pub(super) type Level = Rc<Vec<Node>>;

/// A comparison and what follows from it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub index: u32,
    pub high: bool,
    pub test: Test,
    pub mask: u32,
    pub value: u32,
    pub then: Branch,
    pub otherwise: Branch,
    /// Rank of the rule's operator, which is not that of `test`: `<` is tested as not `>=`.
    rank: Rank,
    /// The whole value, of which `value` is one word.
    whole: u64,
}

/// Order of operators within a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Greater,
    Less,
    Equal,
}

/// Two rules have the same conditions and different actions.
#[derive(Debug)]
pub(super) struct Contradiction;

/// What happens to one system call.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// No rule names it.
    Default,
    /// The same whatever its arguments are.
    Always(u32),
    /// It depends on the arguments.
    Depends(Vec<Node>),
}

impl Outcome {
    /// Adds a rule whose `conditions`, sorted by argument, must all hold.
    pub(super) fn add(
        &mut self,
        conditions: &[Condition],
        action: u32,
        wide: bool,
    ) -> Result<(), Contradiction> {
        let relevant = |condition: &&Condition| match (condition.comparison, wide) {
            (Comparison::MaskedEqual, true) => condition.mask != 0,
            (Comparison::MaskedEqual, false) => condition.mask as u32 != 0,
            _ => true,
        };
        let mut branch = Branch::Return(action);
        for condition in conditions.iter().filter(relevant).rev() {
            let node = if wide {
                wide_node(condition, branch)
            } else {
                narrow_node(condition, branch)
            };
            branch = level(node);
        }
        match (&mut *self, branch) {
            // The first rule without conditions stands.
            (Outcome::Always(_), _) => Ok(()),
            (_, Branch::Return(action)) => {
                *self = Outcome::Always(action);
                Ok(())
            }
            (Outcome::Depends(nodes), Branch::Level(new)) => {
                new.iter().try_for_each(|node| insert(nodes, node))
            }
            (Outcome::Default, Branch::Level(new)) => {
                *self = Outcome::Depends(Rc::unwrap_or_clone(new));
                Ok(())
            }
            (_, Branch::Next) => Ok(()),
        }
    }
}

fn level(node: Node) -> Branch {
    Branch::Level(Rc::new(vec![node]))
}

/// Compares the low word only, as libseccomp does where arguments have 32 bits.
fn narrow_node(condition: &Condition, rest: Branch) -> Node {
    let (test, negated) = match condition.comparison {
        Comparison::Equal => (Test::Equal, false),
        Comparison::NotEqual => (Test::Equal, true),
        Comparison::MaskedEqual => (Test::MaskedEqual, false),
        Comparison::Greater => (Test::Greater, false),
        Comparison::LessEqual => (Test::Greater, true),
        Comparison::GreaterEqual => (Test::GreaterEqual, false),
        Comparison::Less => (Test::GreaterEqual, true),
    };
    let (then, otherwise) = if negated {
        (Branch::Next, rest)
    } else {
        (rest, Branch::Next)
    };
    node(condition, false, test, then, otherwise)
}

/// Compares the high word, and where that does not settle it, the low one.
fn wide_node(condition: &Condition, rest: Branch) -> Node {
    let low = narrow_node(condition, rest.clone());
    match condition.comparison {
        Comparison::Equal => node(condition, true, Test::Equal, level(low), Branch::Next),
        Comparison::MaskedEqual => node(condition, true, Test::MaskedEqual, level(low), Branch::Next),
        Comparison::NotEqual => node(condition, true, Test::Equal, level(low), rest),
        Comparison::Greater | Comparison::GreaterEqual => {
            let equal = node(condition, true, Test::Equal, level(low), Branch::Next);
            node(condition, true, Test::Greater, rest, level(equal))
        }
        Comparison::Less | Comparison::LessEqual => {
            let equal = node(condition, true, Test::Equal, level(low), rest);
            node(condition, true, Test::Greater, Branch::Next, level(equal))
        }
    }
}

fn node(condition: &Condition, high: bool, test: Test, then: Branch, otherwise: Branch) -> Node {
    let shift = if high { 32 } else { 0 };
    let mask = (condition.mask >> shift) as u32;
    let rank = match condition.comparison {
        Comparison::Equal | Comparison::NotEqual | Comparison::MaskedEqual => Rank::Equal,
        Comparison::Less | Comparison::LessEqual => Rank::Less,
        Comparison::Greater | Comparison::GreaterEqual => Rank::Greater,
    };
    Node {
        index: condition.index,
        high,
        test,
        mask,
        value: (condition.value >> shift) as u32 & mask,
        then,
        otherwise,
        rank,
        whole: condition.value,
    }
}

impl Node {
    fn same_test(&self, other: &Node) -> bool {
        let key = |node: &Node| (node.index, node.high, node.test, node.mask, node.value);
        key(self) == key(other)
    }

    /// Whether this node comes after `other` in a level.
    fn after(&self, other: &Node) -> bool {
        let key = |node: &Node| (node.index, node.high, node.rank);
        match key(self).cmp(&key(other)) {
            std::cmp::Ordering::Equal if self.rank == Rank::Less => self.value > other.value,
            std::cmp::Ordering::Equal => self.value < other.value,
            order => order.is_lt(),
        }
    }

    fn is_leaf(&self) -> bool {
        !matches!(self.then, Branch::Level(_)) && !matches!(self.otherwise, Branch::Level(_))
    }

    /// Takes over the branches of a node with the same test: verdicts first, then what lies below.
    fn merge(&mut self, new: &Node) -> Result<(), Contradiction> {
        let leaf = self.is_leaf() || new.is_leaf();
        // Of two ranges that begin at different low words, the high word obeys the narrower.
        let narrower = new.high && new.whole > self.whole;
        self.then.settle(&new.then, leaf, narrower)?;
        self.otherwise.settle(&new.otherwise, leaf, false)?;
        if self.then.grow(&new.then)? {
            self.otherwise.grow(&new.otherwise)?;
        }
        Ok(())
    }
}

impl Branch {
    /// Adds a verdict.
    fn settle(&mut self, new: &Branch, leaf: bool, overrides: bool) -> Result<(), Contradiction> {
        let Branch::Return(action) = *new else {
            return Ok(());
        };
        match self {
            Branch::Next => *self = Branch::Return(action),
            Branch::Return(old) if *old == action => {}
            Branch::Return(_) if leaf => return Err(Contradiction),
            Branch::Return(old) if overrides => *old = action,
            Branch::Return(_) => {}
            Branch::Level(nodes) if all_return(nodes, action) => *self = Branch::Return(action),
            Branch::Level(_) => return Err(Contradiction),
        }
        Ok(())
    }

    /// Adds further comparisons; false when a verdict was there before them.
    fn grow(&mut self, new: &Branch) -> Result<bool, Contradiction> {
        let Branch::Level(nodes) = new else {
            return Ok(true);
        };
        match self {
            Branch::Next => *self = new.clone(),
            Branch::Return(_) => return Ok(false),
            Branch::Level(old) => {
                let old = Rc::make_mut(old);
                nodes.iter().try_for_each(|node| insert(old, node))?;
            }
        }
        Ok(true)
    }
}

fn insert(level: &mut Vec<Node>, new: &Node) -> Result<(), Contradiction> {
    for (at, old) in level.iter_mut().enumerate() {
        if old.same_test(new) {
            return old.merge(new);
        }
        if old.after(new) {
            level.insert(at, new.clone());
            return Ok(());
        }
    }
    level.push(new.clone());
    Ok(())
}

fn all_return(level: &[Node], action: u32) -> bool {
    level
        .iter()
        .flat_map(|node| [&node.then, &node.otherwise])
        .all(|branch| match branch {
            Branch::Next => true,
            Branch::Return(other) => *other == action,
            Branch::Level(nodes) => all_return(nodes, action),
        })
}
