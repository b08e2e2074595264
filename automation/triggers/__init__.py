"""What a trigger is: its types with their configs, cron slots, signatures, input schemas. No I/O here."""
