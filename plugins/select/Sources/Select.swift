// Select
