"""Preview: inputs that people can give by hand, and outputs drawn as what they mean."""
