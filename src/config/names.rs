//! Enums whose values have names in the configuration.

/// Names of an enum's values, both ways: for configuration and command line.
macro_rules! names {
    ($enum:ident { $($value:ident = $name:literal),+ $(,)? }) => {
        impl $enum {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The name in configuration and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }

        impl std::str::FromStr for $enum {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().find(|value| value.as_str() == text);
                let names = || $crate::config::suggest::list(Self::ALL.iter().map(|value| value.as_str()));
                known.copied().ok_or_else(|| format!("expected {}", names()))
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use names;
