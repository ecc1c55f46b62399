// WindowAgg
