//! Namespaces and ids of changes, made without an allocation for each.

use std::{collections::HashMap, sync::Arc};

use crate::change::Namespace;

/// Length of an id: cluster time and token hash, 16 hexadecimal digits each.
pub(in crate::source::mongodb) const ID_LENGTH: usize = 33;

/// Writes the id of a change of that time, with that hash of its token.
pub(in crate::source::mongodb) fn write_id(out: &mut String, time: u64, token: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hex = |number: u64| (0..16).rev().map(move |place| (number >> (place * 4)) as usize & 15);
    let digit = |nibble: usize| char::from(DIGITS.get(nibble).copied().unwrap_or(b'0'));
    out.extend(hex(time).map(digit));
    out.push('-');
    out.extend(hex(token).map(digit));
}

/// Namespaces, each made once.
#[derive(Debug, Default)]
pub(in crate::source::mongodb) struct Names {
    last: Option<Arc<Namespace>>,
    all: HashMap<String, Arc<Namespace>>,
    text: String,
}

impl Names {
    /// The shared namespace of a collection.
    pub(in crate::source::mongodb) fn get(&mut self, database: &str, collection: &str) -> Arc<Namespace> {
        if let Some(last) = &self.last
            && last.collection() == collection
            && last.database() == database
        {
            return last.clone();
        }
        self.text.clear();
        self.text.extend([database, ".", collection]);
        let namespace = match self.all.get(&self.text) {
            Some(namespace) => namespace.clone(),
            None => {
                let namespace = Arc::new(Namespace::new(database, collection));
                self.all.insert(self.text.clone(), namespace.clone());
                namespace
            }
        };
        self.last = Some(namespace.clone());
        namespace
    }
}
