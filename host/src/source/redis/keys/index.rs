//! Which keys were delivered, and where in the log the last state of each stands: what is held in memory, about 50 bytes a key.
//!
//! Keys are known by 96 bits of their SHA-256, states by 64: a key or a state that is taken for another is not to be expected.
//! Many small tables grow one by one, where one big table would need its room twice while it grows.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

/// A key.
pub(super) type KeyId = [u8; 12];
/// A state.
pub(super) type StateId = [u8; 8];

/// Not seen since the log was opened.
pub(super) const UNSEEN: u8 = 0;
/// A state that may not have been delivered.
pub(super) const UNSURE: StateId = [0; 8];

/// What is known of a key. In bytes, so that nothing is lost between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) state: StateId,
    at: [u8; 6],
    /// The scan that saw it last.
    pub(super) seen: u8,
    /// It vanished, and its documents are marked.
    pub(super) marked: bool,
}

impl Slot {
    pub(super) fn new(state: StateId, at: Option<u64>, marked: bool) -> Self {
        let mut slot = Self { state, at: [0; 6], seen: UNSEEN, marked };
        slot.go_to(at.unwrap_or(u64::MAX));
        slot
    }

    /// Its last state stands elsewhere now.
    pub(super) fn go_to(&mut self, at: u64) {
        let [_, _, low @ ..] = at.to_be_bytes();
        self.at = low;
    }

    /// Where its last state stands; none in a dry run, which stores none.
    pub(super) fn at(&self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.at;
        (self.at != [u8::MAX; 6]).then(|| u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.state == UNSURE
    }
}

#[derive(Default)]
pub(super) struct Index {
    parts: Vec<HashMap<KeyId, Slot>>,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { parts: (0..=u8::MAX).map(|_| HashMap::new()).collect() }
    }

    fn part(&self, key: &KeyId) -> usize {
        usize::from(key[0]) % self.parts.len().max(1)
    }

    pub(super) fn get(&self, key: &KeyId) -> Option<&Slot> {
        self.parts.get(self.part(key))?.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &KeyId) -> Option<&mut Slot> {
        let part = self.part(key);
        self.parts.get_mut(part)?.get_mut(key)
    }

    pub(super) fn set(&mut self, key: KeyId, slot: Slot) {
        let part = self.part(&key);
        if let Some(part) = self.parts.get_mut(part) {
            part.insert(key, slot);
        }
    }

    pub(super) fn remove(&mut self, key: &KeyId) {
        let part = self.part(key);
        if let Some(part) = self.parts.get_mut(part) {
            part.remove(key);
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.parts.iter().flat_map(HashMap::values)
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.parts.iter_mut().flat_map(HashMap::values_mut)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }
}

pub(super) fn key_id(key: &[u8]) -> KeyId {
    first(key)
}

pub(super) fn state_id(document: &[u8]) -> StateId {
    match first(document) {
        UNSURE => [1; 8],
        id => id,
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = Sha256::digest(bytes);
    let mut id = [0; N];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}
