use tidegate_plugin::bson::Document;

/// Text with fields in braces, such as `inventory:{warehouse_id}`. A doubled brace stands for itself.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// A field's name, or a path with dots.
    Field(String),
}

impl Template {
    /// # Errors
    /// What is wrong with it and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.find(['{', '}']).map(|at| rest.split_at(at)) {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = after.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (field, after) = after.split_once('}').ok_or("a { has no }: write {field}, or {{ for a brace")?;
                if field.contains('{') || field.split('.').any(|name| name.trim() != name || name.is_empty()) {
                    return Err(format!("{{{field}}} names no field: write {{field}} or {{field.inner}}"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field(field.to_owned()));
                rest = after;
            } else {
                return Err("a } has no {: write {field}, or }} for a brace".to_owned());
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.is_empty() {
            Err("is empty: write a name, with fields as {field}".to_owned())
        } else {
            Ok(Self { parts })
        }
    }

    /// # Errors
    /// Which field is missing, or has no form as text.
    pub fn fill(&self, document: &Document<'_>) -> Result<String, String> {
        let mut filled = String::with_capacity(32);
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field(path) => {
                    let value = document.get_path(path).ok_or_else(|| format!("field {path} is missing"))?;
                    let text = value.to_text().filter(|text| !text.is_empty());
                    filled.push_str(&text.ok_or_else(|| match value.as_str() {
                        Some(_) => format!("field {path} is empty"),
                        None => format!(
                            "field {path} must be text, a whole number, an ObjectId or a boolean, is {}",
                            value.type_name()
                        ),
                    })?);
                }
            }
        }
        Ok(filled)
    }
}
