use std::sync::atomic::{AtomicU32, Ordering};

/// Names that no other test uses, so that tests run in parallel on shared servers.
#[derive(Debug, Clone)]
pub struct TestNames {
    name: String,
}

impl TestNames {
    /// Names after the running test (its thread bears its name), the process and a counter.
    #[must_use]
    pub fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        // MongoDB takes database names of up to 63 bytes: the end of a test's path says most.
        const LONGEST: usize = 40;
        let thread = std::thread::current();
        let test: String = thread
            .name()
            .unwrap_or("test")
            .replace("::", "-")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .collect();
        // The name of a record begins with a letter or a digit.
        let test = test[test.len().saturating_sub(LONGEST)..].trim_start_matches(['_', '-']);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("{test}-{}-{counter}", std::process::id()) }
    }

    /// A database of this test's own, empty at first.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.name
    }

    /// What every Redis key of this test begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.name
    }

    /// A Redis key of this test's own: `PREFIX:name`.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.name)
    }
}

impl Default for TestNames {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_fresh_and_fit_mongodb() {
        let (one, two) = (TestNames::new(), TestNames::new());
        assert_ne!(one.database(), two.database());
        assert!(one.database().len() <= 63 && !one.database().contains(['.', '/', '$', ' ']), "{one:?}");
        assert!(one.database().contains("are_fresh_and_fit_mongodb"), "{one:?}");
        assert!(one.key("a").starts_with(one.prefix()));
    }
}
