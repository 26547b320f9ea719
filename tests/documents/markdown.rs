//! What a document has people type, and what it says that they will see.

/// Commands of one block, and the output that follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Where the block begins.
    pub line: usize,
    /// The heading of the highest level above it.
    pub chapter: String,
    pub commands: String,
    /// Empty when the document shows none.
    pub promised: String,
}

/// A block of `sh`, and the next one without a language unless a heading stands between.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut chapter, mut is_open) = ("", false);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.starts_with('#') {
            is_open = false;
            chapter = line.strip_prefix("# ").unwrap_or(chapter);
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: String = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        match language {
            "sh" => {
                let chapter = chapter.to_owned();
                steps.push(Step { line: index + 1, chapter, commands: block, promised: String::new() });
                is_open = true;
            }
            "" if is_open => {
                if let Some(step) = steps.last_mut() {
                    step.promised = block;
                }
                is_open = false;
            }
            _ => {}
        }
    }
    steps
}

#[test]
fn an_output_belongs_to_the_commands_before_it() {
    let text = "# Begin\n## At once\n```\na drawing\n```\n```sh\nls\n```\nSo:\n```\nfile\n```\n```sh\ntrue\n```\n# Next\n```\nno output\n```\n";
    let step = |line, commands: &str, promised: &str| Step {
        line,
        chapter: "Begin".to_owned(),
        commands: commands.to_owned(),
        promised: promised.to_owned(),
    };
    assert_eq!(steps(text), [step(6, "ls\n", "file\n"), step(13, "true\n", "")]);
}
