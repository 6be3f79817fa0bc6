//! Writes the protocol's types as one TypeScript file, doc comments included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ts_rs::{Config, TS, TypeVisitor};
use vaultlab_protocol::{PlanReply, PlanRequest, Reply, Request, Row, TracePoint};

const HEADER: &str = "\
// The messages between page and engine. Generated from crate/protocol by `npm run protocol`; edits here are lost.
";

/// Writes `www/src/protocol.ts`.
pub fn write(root: &Path) -> Result<()> {
    let path = path(root);
    std::fs::write(&path, generate()).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails if `www/src/protocol.ts` differs from what [`write`] would write.
pub fn check(root: &Path) -> Result<()> {
    let path = path(root);
    let committed = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if committed != generate() {
        bail!(
            "www/src/protocol.ts does not match crate/protocol; run `npm run protocol` and commit the result"
        );
    }
    Ok(())
}

fn path(root: &Path) -> PathBuf {
    root.join("www/src/protocol.ts")
}

fn generate() -> String {
    let config = Config::new();
    let mut declarations = Declarations {
        config: &config,
        by_name: BTreeMap::new(),
    };
    // Everything that crosses the boundary hangs off these.
    declarations.visit::<Request>();
    declarations.visit::<Reply>();
    declarations.visit::<Row>();
    // The planner's, on the page's main thread.
    declarations.visit::<PlanRequest>();
    declarations.visit::<PlanReply>();
    declarations.visit::<TracePoint>();

    let mut text = String::from(HEADER);
    for declaration in declarations.by_name.values() {
        text.push('\n');
        text.push_str(declaration);
    }
    text
}

/// The declarations of all types reached so far, by name.
struct Declarations<'a> {
    config: &'a Config,
    by_name: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Only types that derive `TS` have an output path; the others are primitives and containers.
        if T::output_path().is_none() {
            return;
        }
        let name = T::ident(self.config);
        if self.by_name.contains_key(&name) {
            return;
        }
        let docs = T::docs().unwrap_or_default();
        self.by_name.insert(
            name,
            tidy(&format!("{docs}export {}", T::decl(self.config))),
        );
        T::visit_dependencies(self);
    }
}

/// Lays a generated declaration out: short comments on one line, a line for each documented member and for each
/// case of a tagged union, indented by nesting.
fn tidy(declaration: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for line in split_lines(declaration) {
        let is_comment = line.starts_with('/') || line.starts_with(" *");
        let (opened, closed) = match is_comment {
            true => (0, 0),
            false => (line.matches('{').count(), line.matches('}').count()),
        };
        let outdent = usize::from(line.starts_with('}'));
        text.push_str(&"  ".repeat(depth.saturating_sub(outdent)));
        text.push_str(&line);
        text.push('\n');
        depth = (depth + opened).saturating_sub(closed);
    }
    text
}

/// The lines of a declaration without indentation: comments joined when short, code broken at cases and closings.
fn split_lines(declaration: &str) -> Vec<String> {
    let is_tagged_union = declaration.contains("} | {") || declaration.contains(" | { \"type\"");
    let mut lines: Vec<String> = Vec::new();
    let mut comment: Option<Vec<&str>> = None;
    for line in declaration
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        match (&mut comment, line) {
            (None, "/**") => comment = Some(Vec::new()),
            (Some(words), "*/") => {
                if let [only] = words[..] {
                    lines.push(format!("/** {only} */"));
                } else {
                    lines.push("/**".into());
                    lines.extend(words.iter().map(|word| format!(" * {word}")));
                    lines.push(" */".into());
                }
                comment = None;
            }
            (Some(words), _) => words.push(line.trim_start_matches('*').trim()),
            (None, _) => {
                let mut code = line.replace(", }", ",\n}");
                if is_tagged_union {
                    code = code.replace(" = {", " =\n| {").replace(" | {", "\n| {");
                }
                lines.extend(
                    code.lines()
                        .map(str::trim)
                        .filter(|line| !line.is_empty())
                        .map(String::from),
                );
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type a message mentions is declared: no name in the file is left undefined.
    #[test]
    fn every_mentioned_type_is_declared() {
        let text = generate();
        let declared: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("export type "))
            .filter_map(|rest| rest.split([' ', '<']).next())
            .collect();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['/', '*']))
            .collect::<Vec<_>>()
            .join("\n");
        for word in code.split(|c: char| !c.is_ascii_alphanumeric() && c != '"') {
            let names_a_type =
                word.starts_with(|c: char| c.is_ascii_uppercase()) && word != "Array";
            assert!(
                !names_a_type || declared.contains(&word),
                "{word} is used but not declared"
            );
        }
        assert!(declared.contains(&"Command") && declared.contains(&"Event"));
    }

    /// A documented member keeps its comment, on one line, inside the braces.
    #[test]
    fn comments_stay_with_their_members() {
        let tidied =
            tidy("/**\n * Outer.\n */\nexport type A = { \n/**\n * Inner.\n */\nb: number, };");
        assert_eq!(
            tidied,
            "/** Outer. */\nexport type A = {\n  /** Inner. */\n  b: number,\n};\n"
        );
    }
}
