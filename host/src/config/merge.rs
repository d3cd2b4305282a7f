//! Several files are one configuration: maps are merged key by key, and of all else the later file's takes the place of the earlier one's.

use super::node::{Node, Value};

/// Puts a later file over what is there. A key with nothing behind it says nothing.
pub(super) fn over(under: &mut Node, later: Node) {
    if later.is_null() {
        return;
    }
    match (&mut under.value, later.value) {
        (Value::Map(entries), Value::Map(later)) => {
            for (key, node) in later {
                let Some((known, value)) = entries.iter_mut().find(|(known, _)| known.name == key.name) else {
                    entries.push((key, node));
                    continue;
                };
                let is_whole = !matches!((&value.value, &node.value), (Value::Map(_), Value::Map(_)));
                if is_whole && !node.is_null() {
                    *known = key;
                }
                over(value, node);
            }
        }
        (_, value) => *under = Node { place: later.place, value },
    }
}
