//! What was written, what arrived, and the difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a writer has written: each key's documents 0 to its last, each exactly once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// The last sequence number of each key.
    pub last: BTreeMap<i32, i32>,
    /// The changes that a plugin may trap on, as key and sequence number.
    pub marked: BTreeSet<(i32, i32)>,
}

impl Written {
    /// How many changes that are.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.last.values().map(|last| usize::try_from(last + 1).unwrap_or(0)).sum()
    }
}

/// One change at the sink, or in the dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The document.
    pub key: i32,
    /// Which of its changes.
    pub seq: i32,
    /// The change id.
    pub id: String,
}

/// What is wrong with what arrived. Every list is in order, and empty where all is well.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Changes looked for.
    pub changes: usize,
    /// Changes, as key and sequence number, that arrived nowhere.
    pub gaps: Vec<(i32, i32)>,
    /// Arrivals of a change that had arrived before, or under the id of another.
    pub doubles: Vec<(i32, i32)>,
    /// The change ids of the doubles, and of the arrivals they double.
    pub double_ids: Vec<(String, String)>,
    /// First arrivals of a change behind a later one of its document.
    pub steps_back: Vec<(i32, i32)>,
    /// Arrivals of what was never written.
    pub strangers: Vec<(i32, i32)>,
    /// Dead letters of changes that no plugin had a reason to refuse.
    pub innocents: Vec<(i32, i32)>,
    /// Changes in the dead letter.
    pub letters: usize,
}

impl Verdict {
    /// Whether nothing is wrong; doubles are right where changes may be sent again.
    #[must_use]
    pub fn is_good(&self, doubles_allowed: bool) -> bool {
        self.gaps.is_empty()
            && self.steps_back.is_empty()
            && self.strangers.is_empty()
            && self.innocents.is_empty()
            && (doubles_allowed || self.doubles.is_empty())
    }

    /// Adds what another run found.
    pub fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.gaps.extend(other.gaps);
        self.doubles.extend(other.doubles);
        self.double_ids.extend(other.double_ids);
        self.steps_back.extend(other.steps_back);
        self.strangers.extend(other.strangers);
        self.innocents.extend(other.innocents);
        self.letters += other.letters;
    }
}

/// Compares what was written with what arrived at the sink, in its order, and in the dead letter.
#[must_use]
pub fn judge(written: &Written, arrivals: &[Arrival], letters: &[Arrival]) -> Verdict {
    let mut verdict = Verdict { changes: written.changes(), ..Verdict::default() };
    let is_written = |key, seq| written.last.get(&key).is_some_and(|last| (0..=*last).contains(&seq));
    let mut seen: HashMap<(i32, i32), &str> = HashMap::new();
    let mut ids: HashMap<&str, (i32, i32)> = HashMap::new();
    let mut newest: HashMap<i32, i32> = HashMap::new();
    for arrival in arrivals {
        let change = (arrival.key, arrival.seq);
        if !is_written(arrival.key, arrival.seq) {
            verdict.strangers.push(change);
            continue;
        }
        let has_other_id = *ids.entry(&arrival.id).or_insert(change) != change;
        let news = !seen.contains_key(&change);
        let first = *seen.entry(change).or_insert(&arrival.id);
        if !news || has_other_id {
            verdict.doubles.push(change);
            verdict.double_ids.push((arrival.id.clone(), first.to_owned()));
            continue;
        }
        // Of first arrivals alone: what is sent again after a restart brings old ones along, and they are no news.
        let newest = newest.entry(arrival.key).or_insert(arrival.seq);
        if arrival.seq < *newest {
            verdict.steps_back.push(change);
        }
        *newest = arrival.seq.max(*newest);
    }
    let lettered: BTreeSet<(i32, i32)> = letters.iter().map(|letter| (letter.key, letter.seq)).collect();
    verdict.letters = lettered.len();
    verdict.innocents = lettered.difference(&written.marked).copied().collect();
    verdict.gaps = written
        .last
        .iter()
        .flat_map(|(key, last)| (0..=*last).map(|seq| (*key, seq)))
        .filter(|change| !seen.contains_key(change) && !lettered.contains(change))
        .collect();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys, three changes of the first and two of the second.
    fn written() -> Written {
        Written { last: BTreeMap::from([(1, 2), (2, 1)]), marked: BTreeSet::from([(2, 1)]) }
    }

    fn arrivals(changes: &[(i32, i32)]) -> Vec<Arrival> {
        changes.iter().map(|(key, seq)| Arrival { key: *key, seq: *seq, id: format!("{key}.{seq}") }).collect()
    }

    const ALL: [(i32, i32); 5] = [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1)];

    #[test]
    fn everything_once_and_in_order() {
        let verdict = judge(&written(), &arrivals(&ALL), &[]);
        assert_eq!(verdict, Verdict { changes: 5, ..Verdict::default() });
        assert!(verdict.is_good(false));
    }

    #[test]
    fn a_gap() {
        let verdict = judge(&written(), &arrivals(&ALL[1..]), &[]);
        assert_eq!(verdict.gaps, [(1, 0)]);
        assert!(!verdict.is_good(true));
        // Of a key that never arrived, all.
        assert_eq!(judge(&written(), &arrivals(&[(2, 0), (2, 1)]), &[]).gaps, [(1, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn a_double_is_no_step_back() {
        let mut again = ALL.to_vec();
        again.extend([(1, 1), (1, 2)]);
        let verdict = judge(&written(), &arrivals(&again), &[]);
        assert_eq!((&*verdict.doubles, verdict.steps_back.len()), (&[(1, 1), (1, 2)][..], 0));
        assert!(verdict.is_good(true) && !verdict.is_good(false));
    }

    #[test]
    fn two_changes_under_one_id() {
        let mut found = arrivals(&ALL);
        found[4].id = found[0].id.clone();
        let verdict = judge(&written(), &found, &[]);
        assert_eq!(verdict.doubles, [(2, 1)]);
    }

    #[test]
    fn a_step_back() {
        let verdict = judge(&written(), &arrivals(&[(1, 0), (2, 0), (1, 2), (1, 1), (2, 1)]), &[]);
        assert_eq!((&*verdict.steps_back, verdict.gaps.len()), (&[(1, 1)][..], 0));
        assert!(!verdict.is_good(true));
    }

    #[test]
    fn what_nobody_wrote() {
        let mut found = ALL.to_vec();
        found.extend([(1, 3), (3, 0)]);
        assert_eq!(judge(&written(), &arrivals(&found), &[]).strangers, [(1, 3), (3, 0)]);
    }

    #[test]
    fn letters_are_no_gaps_and_are_for_the_guilty() {
        let verdict = judge(&written(), &arrivals(&ALL[..4]), &arrivals(&[(2, 1), (2, 1)]));
        assert_eq!((verdict.letters, verdict.gaps.len(), verdict.is_good(false)), (1, 0, true));
        let verdict = judge(&written(), &arrivals(&ALL[1..]), &arrivals(&[(1, 0)]));
        assert_eq!((&*verdict.innocents, verdict.gaps.len(), verdict.is_good(true)), (&[(1, 0)][..], 0, false));
    }
}
