//! Templates in addresses and options: `{id}` and its like are text; `{whip:NAME}` and `{whep:NAME}` are streams.
//!
//! The grammar is datarhei's: `{name}`, `{name^c}` with the character `c` escaped in what it stands for, `{name,key=value}`
//! with parameters. What nobody here knows stays as it is. Nothing ever goes through a shell: what a template stands for is
//! part of one argument, whatever is in it.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::definition::End;
use super::wiring::Transport;

/// `{whip:NAME}`: the stream as an input.
pub(super) const WHIP: &str = "whip";
/// `{whep:NAME}`: the stream as an output.
pub(super) const WHEP: &str = "whep";

static TEXT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{([a-z]+)(?:\^(.))?\}").expect("the expression is well-formed"));
static STREAM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{(whip|whep):([^{},]*)(?:,transport=([^{},]*))?\}").expect("the expression is well-formed")
});

/// What templates stand for, in one place of one definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    id: &'a str,
    reference: &'a str,
    input: Option<&'a str>,
    output: Option<&'a str>,
    data: Option<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(id: &'a str, reference: &'a str) -> Self {
        Self { id, reference, input: None, output: None, data: None }
    }

    /// With `{data}` known, the folder of the process' files.
    pub(super) fn data(self, data: &'a str) -> Self {
        Self { data: Some(data), ..self }
    }

    /// In an input.
    pub(super) fn input(self, end: &'a End) -> Self {
        Self { input: Some(&end.id), ..self }
    }

    /// In an output.
    pub(super) fn output(self, end: &'a End) -> Self {
        Self { output: Some(&end.id), ..self }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        match name {
            // The second is datarhei's.
            "id" | "processid" => Some(self.id),
            "reference" => Some(self.reference),
            "inputid" => self.input,
            "outputid" => self.output,
            "data" => self.data,
            _ => None,
        }
    }

    /// A text with every template in it that stands for a text. What comes of one is not looked into again.
    pub(super) fn expand(&self, text: &str) -> String {
        let expanded = TEXT.replace_all(text, |found: &Captures<'_>| match (self.value(&found[1]), found.get(2)) {
            (None, _) => found[0].to_owned(),
            (Some(value), None) => value.to_owned(),
            (Some(value), Some(character)) => escaped(value, character.as_str()),
        });
        expanded.into_owned()
    }
}

/// As datarhei writes it for graphs of filters and slaves of `tee`, where two levels take a backslash each.
fn escaped(value: &str, character: &str) -> String {
    let value = if character == "\\" { value.to_owned() } else { value.replace('\\', r"\\\") };
    value.replace(character, &format!(r"\\{character}"))
}

/// A stream that an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) transport: Transport,
}

fn stream(found: &Captures<'_>) -> Stream {
    let rtp = found.get(3).is_some_and(|transport| transport.as_str() == "rtp");
    Stream { name: found[2].to_owned(), transport: if rtp { Transport::Rtp } else { Transport::Rtsp } }
}

/// The names of all streams of this kind that an address names.
pub(super) fn streams(address: &str, kind: &str) -> Vec<String> {
    STREAM.captures_iter(address).filter(|found| &found[1] == kind).map(|found| stream(&found).name).collect()
}

/// The stream that an address is, if it is one of this kind and nothing else.
pub(super) fn whole(address: &str, kind: &str) -> Option<Stream> {
    let address = address.trim();
    let found = STREAM.captures(address)?;
    (found[0].len() == address.len() && &found[1] == kind).then(|| stream(&found))
}

/// A transport that nobody knows.
pub(super) fn unknown_transport(address: &str) -> Option<String> {
    let named = STREAM.captures_iter(address).filter_map(|found| found.get(3).map(|named| named.as_str().to_owned()));
    named.into_iter().find(|named| !matches!(named.as_str(), "rtsp" | "rtp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(id: &str) -> End {
        End { id: id.to_owned(), ..End::default() }
    }

    #[test]
    fn what_is_known_is_put_in_and_all_else_stays() {
        let (input, output) = (end("in0"), end("out:0"));
        let names = Names::of("p1", "ref").data("/srv/p1");
        for (text, as_input, as_output) in [
            ("{data}/{id}.mp4", "/srv/p1/p1.mp4", "/srv/p1/p1.mp4"),
            ("{processid}-{reference}", "p1-ref", "p1-ref"),
            ("{inputid}", "in0", "{inputid}"),
            ("{outputid}", "{outputid}", "out:0"),
            ("{outputid^:}", "{outputid^:}", r"out\\:0"),
            ("{memfs}/{rtmp,name=a}.flv", "{memfs}/{rtmp,name=a}.flv", "{memfs}/{rtmp,name=a}.flv"),
            ("{ID} {} {id", "{ID} {} {id", "{ID} {} {id"),
            ("{whip:{id}}", "{whip:p1}", "{whip:p1}"),
            ("$(id) `id`; {id}", "$(id) `id`; p1", "$(id) `id`; p1"),
        ] {
            assert_eq!(names.input(&input).expand(text), as_input, "{text}");
            assert_eq!(names.output(&output).expand(text), as_output, "{text}");
        }
    }

    #[test]
    fn a_reference_is_text_and_no_template() {
        assert_eq!(Names::of("p", "{id}{data}").data("/d").expand("{reference}"), "{id}{data}");
    }

    #[test]
    fn streams_are_found_in_whole_addresses_and_within() {
        assert_eq!(whole("{whip:cam}", WHIP), Some(Stream { name: "cam".into(), transport: Transport::Rtsp }));
        assert_eq!(
            whole(" {whep:cam,transport=rtp} ", WHEP),
            Some(Stream { name: "cam".into(), transport: Transport::Rtp })
        );
        assert_eq!(whole("{whip:cam}", WHEP), None);
        assert_eq!(whole("{whip:cam}?x", WHIP), None);
        assert_eq!(streams("[f=flv]rtmp://a|{whep:b}|{whep:c}", WHEP), ["b", "c"]);
        assert_eq!(unknown_transport("{whip:a,transport=rtp}|{whip:b,transport=udp}"), Some("udp".into()));
    }
}
