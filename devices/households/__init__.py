"""Households: members, invitations, staff, API tokens, the first sign-in."""
