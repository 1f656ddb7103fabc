"""Many runs from one sweep file."""
