//! Command lines of the commands: flags with a number, and names.

use lexopt::Arg::{Long, Value};

use crate::Outcome;

/// A command that takes no options.
pub(crate) fn none(args: lexopt::Parser) -> Outcome {
    numbers(args, &mut []).and_then(|names| match names.first() {
        Some(name) => Err(format!("unexpected argument `{name}`")),
        None => Ok(()),
    })
}

/// Fills in the flags given as `--name N`; returns the arguments that are not flags.
pub(crate) fn numbers(mut args: lexopt::Parser, flags: &mut [(&str, &mut u64)]) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        match arg {
            Long(name) => {
                let Some(at) = flags.iter().position(|(flag, _)| *flag == name) else {
                    return Err(format!("unknown option `--{name}`"));
                };
                let text = args.value().map_err(|e| e.to_string())?.to_string_lossy().into_owned();
                *flags[at].1 = text.parse().map_err(|_| format!("--{}: `{text}` is not a number", flags[at].0))?;
            }
            Value(name) => names.push(name.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::numbers;

    fn parse(args: &[&str]) -> Result<(u64, Vec<String>), String> {
        let mut seconds = 7;
        let names = numbers(lexopt::Parser::from_args(args), &mut [("seconds", &mut seconds)])?;
        Ok((seconds, names))
    }

    #[test]
    fn flags_have_defaults_names_and_precise_errors() {
        assert_eq!(parse(&[]), Ok((7, vec![])));
        assert_eq!(parse(&["--seconds", "9", "stun"]), Ok((9, vec!["stun".into()])));
        assert_eq!(parse(&["--seconds=9"]), Ok((9, vec![])));
        assert_eq!(parse(&["--seconds", "x"]), Err("--seconds: `x` is not a number".into()));
        assert_eq!(parse(&["--minutes", "1"]), Err("unknown option `--minutes`".into()));
        assert!(parse(&["--seconds"]).is_err());
    }
}
