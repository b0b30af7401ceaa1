//! The rules of a running pasta, and how commands change them.
//!
//! Pure: a list of [`Step`]s and a table go in, the table that is wanted comes out, or the reason why not; then nothing has
//! changed. Adding what is there and deleting what is not both succeed: whoever starts over after an interruption gets
//! what it asked for. (The original refuses both, and a restarted container can be left without its ports.)

use serde::{Deserialize, Serialize};

use super::rule::{Pif, Rule, RuleError, Transport};

/// All rules, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// Into the namespace.
    pub host: Vec<Rule>,
    /// Out of it.
    pub splice: Vec<Rule>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Have this rule.
    Add(Pif, Rule),
    /// Have it no more.
    Delete(Pif, Rule),
    /// Have none.
    Clear(Pif),
    /// Have none of this protocol as it is; those that are there are in the way.
    None(Pif, Transport),
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Another rule has some of the ports.
    #[error("Forwarding configuration conflict: {rule} versus {other}\nUnable to add rule {rule}")]
    Conflict {
        /// What was to be added.
        rule: Box<Rule>,
        /// What is there.
        other: Box<Rule>,
    },
    /// A rule is not what was named, but has ports of it.
    #[error(
        "Specifier {rule} conflicts with rule {other}, but doesn't match it, can't delete\nUnable to delete rule {rule}"
    )]
    NoMatch {
        /// What was named.
        rule: Box<Rule>,
        /// What is there.
        other: Box<Rule>,
    },
    /// Some are there, and none was asked for.
    #[error("-{0} none conflicts with previous options")]
    NotNone(char),
    /// It makes no sense by itself.
    #[error("{error}\nUnable to add rule {rule}")]
    Rule {
        /// What was to be added.
        rule: Box<Rule>,
        /// Why it can't.
        error: RuleError,
    },
}

impl Table {
    /// The rules of one way.
    pub fn of(&self, pif: Pif) -> &[Rule] {
        match pif {
            Pif::Host => &self.host,
            Pif::Splice => &self.splice,
        }
    }

    /// The table after all of `steps`.
    pub fn after(&self, steps: &[Step]) -> Result<Self, TableError> {
        let mut table = self.clone();
        for step in steps {
            table.take(step)?;
        }
        Ok(table)
    }

    fn take(&mut self, step: &Step) -> Result<(), TableError> {
        match step {
            Step::Clear(pif) => self.of_mut(*pif).clear(),
            Step::None(pif, protocol) => {
                if self.of(*pif).iter().any(|rule| rule.protocol == *protocol) {
                    return Err(TableError::NotNone(letter(*pif, *protocol)));
                }
            }
            Step::Add(pif, rule) => {
                let refused = |error| TableError::Rule {
                    rule: Box::new(rule.clone()),
                    error,
                };
                rule.check().map_err(refused)?;
                let rules = self.of_mut(*pif);
                match rules.iter().find(|other| rule.conflicts_with(other)) {
                    None => rules.push(rule.clone()),
                    Some(other) if rule.is_same_as(other) => {}
                    Some(other) => {
                        return Err(TableError::Conflict {
                            rule: Box::new(rule.clone()),
                            other: Box::new(other.clone()),
                        });
                    }
                }
            }
            Step::Delete(pif, rule) => {
                let rules = self.of_mut(*pif);
                if let Some(other) = rules
                    .iter()
                    .find(|other| rule.conflicts_with(other) && !rule.is_same_as(other))
                {
                    return Err(TableError::NoMatch {
                        rule: Box::new(rule.clone()),
                        other: Box::new(other.clone()),
                    });
                }
                rules.retain(|other| !rule.is_same_as(other));
            }
        }
        Ok(())
    }

    fn of_mut(&mut self, pif: Pif) -> &mut Vec<Rule> {
        match pif {
            Pif::Host => &mut self.host,
            Pif::Splice => &mut self.splice,
        }
    }
}

/// The option that asks for such rules.
fn letter(pif: Pif, protocol: Transport) -> char {
    match (pif, protocol) {
        (Pif::Host, Transport::Tcp) => 't',
        (Pif::Host, Transport::Udp) => 'u',
        (Pif::Splice, Transport::Tcp) => 'T',
        (Pif::Splice, Transport::Udp) => 'U',
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Spec, parse};
    use super::*;

    fn rules(spec: &str) -> Vec<Rule> {
        match parse(spec).unwrap() {
            Spec::None => Vec::new(),
            Spec::Ports(ports) => ports.rules(Transport::Tcp, (32_768, 60_999)),
        }
    }

    fn add(spec: &str) -> Vec<Step> {
        rules(spec).into_iter().map(|rule| Step::Add(Pif::Host, rule)).collect()
    }

    fn delete(spec: &str) -> Vec<Step> {
        rules(spec)
            .into_iter()
            .map(|rule| Step::Delete(Pif::Host, rule))
            .collect()
    }

    fn table(spec: &str) -> Table {
        Table::default().after(&add(spec)).unwrap()
    }

    #[test]
    fn adding_and_deleting_twice_is_the_same_as_once() {
        let one = table("18081");
        assert_eq!(one.after(&add("18081")).unwrap(), one);
        let none = one.after(&delete("18081")).unwrap();
        assert_eq!(none, Table::default());
        assert_eq!(none.after(&delete("18081")).unwrap(), none);
    }

    #[test]
    fn rules_that_share_ports_conflict() {
        let said = |have: &str, more: &str| table(have).after(&add(more)).unwrap_err().to_string();
        assert_eq!(
            said("18080:1", "18080:2"),
            "Forwarding configuration conflict: TCP [*]:18080  =>  2  versus TCP [*]:18080  =>  1 \n\
             Unable to add rule TCP [*]:18080  =>  2 "
        );
        assert_eq!(
            said("all", "1.2.3.4/5000"),
            "Forwarding configuration conflict: TCP [1.2.3.4]:5000  =>  5000  versus TCP [*]:1-32767  =>  1-32767  \
             (best effort)\nUnable to add rule TCP [1.2.3.4]:5000  =>  5000 "
        );
        for (have, more) in [
            ("127.0.0.1/5000", "::1/5000"),
            ("127.0.0.1/5000", "127.0.0.2/5000"),
            ("0.0.0.0/5000", "[::]/5000"),
            ("%lo/5000", "%eth0/5000"),
            ("5000", "5001"),
        ] {
            table(have).after(&add(more)).unwrap();
        }
    }

    #[test]
    fn what_is_not_named_whole_is_not_deleted() {
        let said = table("0.0.0.0/6001").after(&delete("0.0.0.0/6000-6001")).unwrap_err();
        assert_eq!(
            said.to_string(),
            "Specifier TCP [0.0.0.0]:6000-6001  =>  6000-6001  conflicts with rule TCP [0.0.0.0]:6001  =>  6001 , \
             but doesn't match it, can't delete\nUnable to delete rule TCP [0.0.0.0]:6000-6001  =>  6000-6001 "
        );
    }

    #[test]
    fn steps_are_taken_in_order_and_all_or_none() {
        let mut steps = add("2000");
        steps.push(Step::Clear(Pif::Host));
        steps.extend(add("2001"));
        assert_eq!(Table::default().after(&steps).unwrap(), table("2001"));
        let mut steps = add("2000");
        steps.extend(add("0"));
        let before = table("7");
        assert!(before.after(&steps).is_err());
        assert_eq!(before, table("7"));
    }
}
