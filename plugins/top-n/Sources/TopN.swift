// TopN
