// GenerateSource
