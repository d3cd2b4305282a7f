//! Names of projects.

/// Why something is no project.
pub(crate) fn wrong_project(project: &str) -> Option<String> {
    // Old ones have a domain in front: `example.com:project`.
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c);
    let good = (3..=100).contains(&project.len()) && project.chars().all(letters);
    (!good).then(|| {
        "a project is named by its id: lower-case letters, digits and `-`, as `gcloud projects list` shows it"
            .to_owned()
    })
}
