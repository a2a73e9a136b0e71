//! SDP as lines and words, for looking at what was written: nothing is inferred, nothing is forgiven.

/// A description.
#[derive(Debug)]
pub(crate) struct Sdp<'a> {
    pub(crate) session: Part<'a>,
    pub(crate) sections: Vec<Part<'a>>,
}

/// The session part, or one m-section with its `m=` line first.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) lines: Vec<&'a str>,
}

impl<'a> Sdp<'a> {
    /// Offers may end their lines as they like.
    pub(crate) fn parse(text: &'a str) -> Sdp<'a> {
        let mut parts = vec![Part { lines: Vec::new() }];
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                parts.push(Part { lines: Vec::new() });
            }
            parts.last_mut().expect("the session part").lines.push(line);
        }
        let session = parts.remove(0);
        Sdp { session, sections: parts }
    }

    /// The mids of `a=group:BUNDLE`; none without a group.
    #[track_caller]
    pub(crate) fn bundle(&self) -> Vec<&'a str> {
        let groups = self.session.all("group");
        let mut groups = groups.iter().filter_map(|group| group.strip_prefix("BUNDLE"));
        let mids = groups.next().map(|mids| mids.split_whitespace().collect());
        assert!(groups.next().is_none(), "two groups");
        mids.unwrap_or_default()
    }

    /// The values of an attribute in a section, or else in the session part.
    pub(crate) fn inherited(&self, section: &Part<'a>, name: &str) -> Vec<&'a str> {
        let own = section.all(name);
        if own.is_empty() { self.session.all(name) } else { own }
    }

    /// The section of that media type; a second one is a mistake in the test.
    #[track_caller]
    pub(crate) fn section(&self, kind: &str) -> &Part<'a> {
        let mut sections = self.sections.iter().filter(|section| section.kind() == kind);
        let found = sections.next().unwrap_or_else(|| panic!("no {kind} section"));
        assert!(sections.next().is_none());
        found
    }
}

impl<'a> Part<'a> {
    /// The values of every `a=name`, a flag's is empty.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a str> {
        let attributes = self.lines.iter().filter_map(|line| line.strip_prefix("a="));
        let pairs = attributes.map(|attribute| attribute.split_once(':').unwrap_or((attribute, "")));
        pairs.filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
    }

    /// Whether there is an `a=name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The value of the one `a=name`.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> &'a str {
        let [value] = self.all(name)[..] else { panic!("not exactly one a={name} in {:#?}", self.lines) };
        value
    }

    /// The words of the `m=` line: media, port, profile, formats.
    fn words(&self) -> Vec<&'a str> {
        self.lines[0].trim_start_matches("m=").split(' ').collect()
    }

    pub(crate) fn kind(&self) -> &'a str {
        self.words()[0]
    }

    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        self.words()[1].parse().expect("a port")
    }

    pub(crate) fn profile(&self) -> &'a str {
        self.words()[2]
    }

    pub(crate) fn formats(&self) -> Vec<&'a str> {
        self.words().split_off(3)
    }

    /// What `a=name:FORMAT …` says of a format, e.g. its `rtpmap`; several for `rtcp-fb`.
    pub(crate) fn of_format(&self, name: &str, format: &str) -> Vec<&'a str> {
        let values = self.all(name).into_iter().filter_map(|value| value.split_once(' '));
        values.filter(|(other, _)| *other == format).map(|(_, rest)| rest).collect()
    }

    /// The codec of a format in lower case, e.g. `opus/48000/2`, if the section names it or its number says it (RFC 3551
    /// 6).
    pub(crate) fn codec(&self, format: &str) -> Option<String> {
        let named = self.of_format("rtpmap", format);
        let fixed = match format {
            "0" => Some("pcmu/8000"),
            "8" => Some("pcma/8000"),
            "9" => Some("g722/8000"),
            _ => None,
        };
        named.first().copied().or(fixed).map(|name| name.trim_end_matches("/1").to_ascii_lowercase())
    }
}
