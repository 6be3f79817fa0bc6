/// Holds text back while it could still become a stop string.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Watches for `stops`; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .cloned()
            .collect();
        Self {
            stops,
            held: String::new(),
        }
    }

    /// Takes a piece of text; returns what may be shown now, and whether a stop string was met.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let met = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = met {
            let shown = self.held[..at].to_owned();
            self.held.clear();
            return (shown, true);
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let shown = self.held[..self.held.len() - keep].to_owned();
        self.held.drain(..shown.len());
        (shown, false)
    }

    /// What was held back, once no more text comes.
    pub fn finish(self) -> String {
        self.held
    }
}

/// Bytes at the end of `text` that begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len())
        .rev()
        .find(|&length| stop.is_char_boundary(length) && text.ends_with(&stop[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::StopStrings;

    /// Feeds `text` in pieces of every size and returns what was shown.
    fn shown(text: &str, stops: &[&str], size: usize) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut watcher = StopStrings::new(&stops);
        let mut out = String::new();
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            let (more, stopped) = watcher.push(&piece.iter().collect::<String>());
            out.push_str(&more);
            if stopped {
                return (out, true);
            }
        }
        out.push_str(&watcher.finish());
        (out, false)
    }

    #[test]
    fn cuts_before_the_first_stop_however_the_text_is_cut() {
        for size in 1..8 {
            assert_eq!(
                shown("one\n\ntwo END", &["END", "\n\n"], size),
                ("one".into(), true)
            );
            assert_eq!(shown("naïve ënd", &["ënd"], size), ("naïve ".into(), true));
        }
    }

    #[test]
    fn a_beginning_that_comes_to_nothing_is_shown() {
        for size in 1..8 {
            assert_eq!(shown("EN EN", &["END"], size), ("EN EN".into(), false));
            assert_eq!(shown("text", &[""], size), ("text".into(), false));
        }
    }
}
