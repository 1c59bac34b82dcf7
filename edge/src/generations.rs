//! A bounded map: two generations of entries. When the young one is full it becomes the old one, and the old one is
//! forgotten. What is used stays, what is not goes, and nothing has to be sorted.

use std::collections::HashMap;

/// A bounded map from texts.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    young: HashMap<String, V>,
    old: HashMap<String, V>,
    young_bytes: usize,
    max_bytes: usize,
}

impl<V: Clone> Generations<V> {
    /// A map that holds about `max_bytes` of keys and values together.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, max_bytes }
    }

    /// An entry; one of the old generation becomes young again.
    pub(crate) fn get(&mut self, key: &str, bytes: impl FnOnce(&V) -> usize) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        let size = bytes(&value);
        self.insert(key.to_owned(), value.clone(), size);
        Some(value)
    }

    /// Puts an entry in; `bytes` is about what its value holds.
    pub(crate) fn insert(&mut self, key: String, value: V, bytes: usize) {
        self.young_bytes += key.len() + bytes;
        self.young.insert(key, value);
        if self.young_bytes > self.max_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let mut map = Generations::new(2000);
        for i in 0..1000 {
            map.insert(format!("{i:010}"), i, 90);
            assert_eq!(map.get("0000000000", |_| 90), Some(0), "used every time, at {i}");
            assert!(map.young.len() + map.old.len() <= 22);
        }
        assert_eq!(map.get("0000000500", |_| 90), None);
    }
}
