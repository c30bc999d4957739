"""The flights that left New York in 2013, one snapshot a day, and a model for arriving 15 or more minutes late."""
