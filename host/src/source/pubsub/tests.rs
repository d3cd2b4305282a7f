//! Of the rules.
